/* SPDX-License-Identifier: MIT */
/*
 * A worker has one word of state, and whoever changes it hands the worker over:
 *
 *     IDLE or ASLEEP --caller--> ASKED --worker--> RUNNING or AWAITED --worker--> IDLE
 *                                  +----caller, taking it back----> IDLE
 *
 *     RUNNING --caller, not waiting--> LEFT --worker, joining the idle itself--> IDLE
 *
 * The side that waits spins a little, then makes IDLE ASLEEP, or RUNNING AWAITED, and sleeps; the
 * other side finds that when it exchanges the state, and wakes it. From take() to give_back() a
 * worker is one caller's, so at most one thread sleeps on its condition. Callers meet only at the
 * list of idle workers. Workers live until the process ends.
 */
#if defined(__linux__)
#define _GNU_SOURCE /* CPU_COUNT, names; POSIX in a strict C11 compile */
#endif

#include "base/threads.h"

#include <fenv.h>
#include <stdatomic.h>

#include "base/clock.h"

enum { MAX_WORKERS = 1023, STACK_BYTES = 512 << 10 };

/* How long a worker stays awake after work, and a caller for its last workers. To wake a sleeper
   took 20 to 55 us (to reach a spinning one 0.8), so a longer spin costs more than it can save; a
   much shorter one lets workers fall asleep between the calls of a stream, 5 to 20 us apart. */
static const double SPIN_SECONDS = 50e-6;

/* How long a caller that need not wait for its workers gives them to return nevertheless: one left
   behind is not there for a call that follows at once. */
static const double LEAVE_SECONDS = 5e-6;

typedef struct worker worker;
static void serve(worker *w);

/* The system's primitives. */
#if defined(_WIN32)
#include <process.h>
#include <windows.h>

typedef SRWLOCK mutex;
typedef CONDITION_VARIABLE condition;
#define MUTEX_INIT SRWLOCK_INIT

static void lock(mutex *m) { AcquireSRWLockExclusive(m); }
static void unlock(mutex *m) { ReleaseSRWLockExclusive(m); }
static void condition_init(condition *c) { InitializeConditionVariable(c); }
static void lock_init(mutex *m) { InitializeSRWLock(m); }
static void condition_wait(condition *c, mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static void condition_signal(condition *c) { WakeConditionVariable(c); }
size_t fl_cpus(void) { return GetActiveProcessorCount(ALL_PROCESSOR_GROUPS); }
int fl_cpu(void) { return (int)GetCurrentProcessorNumber(); }

static unsigned __stdcall thread_main(void *w) { return serve(w), 0; }

static int start(worker *w)
{
    const unsigned reserve = STACK_SIZE_PARAM_IS_A_RESERVATION;
    uintptr_t t = _beginthreadex(NULL, STACK_BYTES, thread_main, w, reserve, NULL);
    return t && CloseHandle((HANDLE)t);
}
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;
#define MUTEX_INIT PTHREAD_MUTEX_INITIALIZER

static void lock(mutex *m) { pthread_mutex_lock(m); }
static void unlock(mutex *m) { pthread_mutex_unlock(m); }
static void condition_init(condition *c) { pthread_cond_init(c, NULL); }
static void lock_init(mutex *m) { pthread_mutex_init(m, NULL); }
static void condition_wait(condition *c, mutex *m) { pthread_cond_wait(c, m); }
static void condition_signal(condition *c) { pthread_cond_signal(c); }

#if defined(__linux__)
static void set_name(void) { pthread_setname_np(pthread_self(), "fastlstm"); }
int fl_cpu(void) { return sched_getcpu(); }
size_t fl_cpus(void)
{
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set))
        return (size_t)CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than a cpu_set_t holds */
    return n > 0 ? (size_t)n : 1;
}
#else /* macOS */
static void set_name(void) { pthread_setname_np("fastlstm"); }
int fl_cpu(void) { return -1; }
size_t fl_cpus(void) { return (size_t)sysconf(_SC_NPROCESSORS_ONLN); }
#endif

static void *thread_main(void *w)
{
    set_name();
    serve(w);
    return NULL;
}

/* Signals sent to the process are for other threads, the interpreter's main thread above all.
   Those of a thread's own faults stay open: a crash is reported where it happens. */
static int start(worker *w)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    for (int i = 0; i < 4; i++)
        sigdelset(&all, own[i]);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(&thread, &attr, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return e == 0;
}
#endif

enum { IDLE, ASLEEP, ASKED, RUNNING, AWAITED, LEFT };

struct worker {
    _Alignas(64) atomic_int state; /* a cache line apart from other workers' */
    void (*work)(void *, size_t);  /* the call, written by its caller before ASKED */
    void *arg;
    void (*release)(void *); /* when it is LEFT; or NULL: it is waited for */
    size_t index;
    int cpu;      /* the caller's then, -1 unknown */
    worker *next; /* among the idle, or among its caller's */
    mutex lock;   /* held to fall asleep, and passed through to wake */
    condition wake;
};

/* Static: it takes memory only as far as it is used, and none can be refused. */
static struct {
    mutex lock;
    worker *idle;        /* the last to work first: the likeliest to be awake */
    atomic_size_t alive; /* worker[0 .. alive - 1] have threads */
    size_t forks;        /* 1 in a child, 2 in its child: written by forget() only */
    worker worker[MAX_WORKERS];
} team = {.lock = MUTEX_INIT};

#if defined(_WIN32)
static int fork_safe(void) { return 1; }
#else
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_handled;

/* In the child, where no worker is. Everything is written anew, so nothing need be whole, or
   unlocked, at the time of the fork. */
static void forget(void)
{
    team.idle = NULL;
    team.alive = 0;
    team.forks++;
    lock_init(&team.lock);
}

static void handle_fork(void) { fork_handled = !pthread_atfork(NULL, NULL, forget); }

/* Called before the lock is first taken: no child is born with it locked. */
static int fork_safe(void) { return !pthread_once(&fork_once, handle_fork) && fork_handled; }
#endif

/* Spins while w is in a state, for at most so many seconds. Has it left the state? */
static int spin_while(worker *w, int state, double spin)
{
    for (double end = spin > 0 ? fl_clock() + spin : 0; spin > 0; spin = end - fl_clock())
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(&w->state, memory_order_acquire) != state)
                return 1;
            fl_pause();
        }
    return 0;
}

/* Returns when w's state is neither `from` nor `asleep`, the state of sleeping in `from`. */
static void wait_while(worker *w, int from, int asleep, double spin)
{
    if (spin_while(w, from, spin))
        return;
    lock(&w->lock);
    atomic_compare_exchange_strong(&w->state, &(int){from}, asleep);
    while (atomic_load_explicit(&w->state, memory_order_acquire) == asleep)
        condition_wait(&w->wake, &w->lock);
    unlock(&w->lock);
}

/* Gives w a new state, and wakes the thread that sleeps in `asleep`, if that was the old one, which
   is returned. */
static int hand_over(worker *w, int state, int asleep)
{
    const int old = atomic_exchange_explicit(&w->state, state, memory_order_acq_rel);
    if (old == asleep) {
        lock(&w->lock); /* the sleeper lets go of it once it can hear the signal */
        unlock(&w->lock);
        condition_signal(&w->wake);
    }
    return old;
}

/* Idle, it joins the others. Nobody else has w. */
static void rejoin(worker *w)
{
    lock(&team.lock);
    w->next = team.idle;
    team.idle = w;
    unlock(&team.lock);
}

/* Where a worker woke on its caller's CPU, its spin held the caller up: a call took 52 us, not 2.
 */
static void serve(worker *w)
{
    fesetenv(FE_DFL_ENV); /* a thread inherits its maker's */
    for (double spin = 0;;) {
        wait_while(w, IDLE, ASLEEP, spin);
        spin = 0; /* if taken back, the call may be long over */
        if (atomic_compare_exchange_strong(&w->state, &(int){ASKED}, RUNNING)) {
            const int cpu = w->cpu;
            w->work(w->arg, w->index);
            if (hand_over(w, IDLE, AWAITED) == LEFT) {
                w->release(w->arg);
                rejoin(w);
            }
            spin = cpu >= 0 && cpu == fl_cpu() ? 0 : SPIN_SECONDS;
        }
    }
}

/* A new worker for a call that wants n. One call alone gets all it asks for; when others hold
   workers, there are more only for CPUs that would stand idle. */
static worker *make(size_t n)
{
    worker *w = &team.worker[team.alive];
    if (team.alive == MAX_WORKERS || (team.alive >= n && team.alive + 1 >= fl_cpus()))
        return NULL;
    atomic_init(&w->state, IDLE);
    lock_init(&w->lock);
    condition_init(&w->wake);
    if (!start(w))
        return NULL;
    team.alive++;
    return w;
}

/* Up to n workers, the caller's until they are given back. */
static worker *take(size_t n)
{
    worker *mine = NULL;
    lock(&team.lock);
    for (size_t i = 1; i <= n; i++) {
        worker *w = team.idle;
        if (w)
            team.idle = w->next;
        else if (!(w = make(n)))
            break;
        w->index = i;
        w->next = mine;
        mine = w;
    }
    unlock(&team.lock);
    return mine;
}

static void give_back(worker *mine)
{
    lock(&team.lock);
    for (worker *w = mine, *next; w; w = next) {
        next = w->next;
        w->next = team.idle;
        team.idle = w;
    }
    unlock(&team.lock);
}

static size_t run(size_t threads, void (*work)(void *, size_t), void *arg, void (*release)(void *))
{
    const size_t forks = team.forks;
    const int cpu = threads > 1 ? fl_cpu() : -1;
    size_t left = 0;
    worker *mine = threads > 1 && fork_safe() ? take(threads - 1) : NULL;
    for (worker *w = mine; w; w = w->next) {
        w->work = work;
        w->arg = arg;
        w->release = release;
        w->cpu = cpu;
        hand_over(w, ASKED, ASLEEP);
    }
    work(arg, 0);
    if (forks != team.forks || !mine) /* a child of this call, or alone */
        return 0;
    for (worker *w = mine; w; w = w->next)
        atomic_compare_exchange_strong(&w->state, &(int){ASKED}, IDLE);
    for (worker **at = &mine, *w; (w = *at);) {
        worker *next = w->next; /* a worker left to its work has its own use for w->next */
        if (!release)
            wait_while(w, RUNNING, AWAITED, SPIN_SECONDS);
        else if (!spin_while(w, RUNNING, LEAVE_SECONDS) &&
                 atomic_compare_exchange_strong(&w->state, &(int){RUNNING}, LEFT)) {
            *at = next;
            left++;
            continue;
        }
        at = &w->next;
    }
    give_back(mine);
    return left;
}

void fl_team_run(size_t threads, void (*work)(void *arg, size_t worker), void *arg)
{
    run(threads, work, arg, NULL);
}

size_t fl_team_lend(size_t threads, void (*work)(void *arg, size_t worker), void *arg,
                    void (*release)(void *arg))
{
    return run(threads, work, arg, release);
}

size_t fl_team_size(void) { return team.alive; }

size_t fl_team_forks(void) { return team.forks; }
