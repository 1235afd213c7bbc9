/* SPDX-License-Identifier: MIT */
/*
 * A worker has one word of state, and whoever changes it hands the worker over:
 *
 *     IDLE or ASLEEP --caller--> ASKED --worker--> RUNNING or AWAITED --worker--> IDLE
 *                                  +----caller, taking it back----> IDLE
 *
 * The side that waits spins a little, then turns IDLE into ASLEEP or RUNNING into AWAITED and
 * sleeps; the other side finds that word when it exchanges the state, and wakes it. From take() to
 * give_back() a worker belongs to one caller, so at most one thread sleeps on its condition.
 * Callers meet only at the list of idle workers. Workers live until the process ends.
 */
#if defined(__linux__)
#define _GNU_SOURCE /* CPU_COUNT; the POSIX functions, in a strict C11 compile */
#endif

#include "team.h"

#include <fenv.h>
#include <stdatomic.h>

#include "clock.h"

enum { MAX_WORKERS = 1023, STACK_BYTES = 512 << 10 };

/* How long a worker stays awake after work, and a caller awake for its last workers. Waking a
   sleeper takes 5 to 50 us, so a longer spin would cost more than it can save; a shorter one would
   let workers fall asleep between two calls of a stream, which Python makes some 5 us apart. */
static const double SPIN_SECONDS = 50e-6;

typedef struct worker worker;
static void serve(worker *w);

#if defined(_WIN32)
#include <process.h>
#include <windows.h>

typedef SRWLOCK mutex;
typedef CONDITION_VARIABLE condition;
#define MUTEX_INIT SRWLOCK_INIT
#define cpu_pause() YieldProcessor()

static void lock_init(mutex *m) { InitializeSRWLock(m); }
static void lock(mutex *m) { AcquireSRWLockExclusive(m); }
static void unlock(mutex *m) { ReleaseSRWLockExclusive(m); }
static void condition_init(condition *c) { InitializeConditionVariable(c); }
static void condition_wait(condition *c, mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static void condition_signal(condition *c) { WakeConditionVariable(c); }
static size_t cpus(void) { return GetActiveProcessorCount(ALL_PROCESSOR_GROUPS); }
static int fork_ready(void) { return 1; }

static unsigned __stdcall thread_main(void *w)
{
    serve(w);
    return 0;
}

static int start(worker *w)
{
    uintptr_t t =
        _beginthreadex(NULL, STACK_BYTES, thread_main, w, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (t)
        CloseHandle((HANDLE)t);
    return t != 0;
}
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;
#define MUTEX_INIT PTHREAD_MUTEX_INITIALIZER
#if defined(__x86_64__) || defined(__i386__)
#define cpu_pause() __builtin_ia32_pause()
#elif defined(__aarch64__) || defined(__arm__)
#define cpu_pause() __asm__ volatile("yield")
#else
#define cpu_pause() ((void)0)
#endif

static void lock_init(mutex *m) { pthread_mutex_init(m, NULL); }
static void lock(mutex *m) { pthread_mutex_lock(m); }
static void unlock(mutex *m) { pthread_mutex_unlock(m); }
static void condition_init(condition *c) { pthread_cond_init(c, NULL); }
static void condition_wait(condition *c, mutex *m) { pthread_cond_wait(c, m); }
static void condition_signal(condition *c) { pthread_cond_signal(c); }

static size_t cpus(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (size_t)CPU_COUNT(&set);
#endif
    return (size_t)sysconf(_SC_NPROCESSORS_ONLN);
}

static void before_fork(void);
static void after_fork(void);
static void after_fork_in_child(void);
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_handled;

static void handle_fork(void)
{
    fork_handled = pthread_atfork(before_fork, after_fork, after_fork_in_child) == 0;
}

/* Called before the team's lock is first taken, so that no child is born with it locked. */
static int fork_ready(void)
{
    pthread_once(&fork_once, handle_fork);
    return fork_handled;
}

static void *thread_main(void *w)
{
#if defined(__linux__)
    pthread_setname_np(pthread_self(), "fastlstm");
#elif defined(__APPLE__)
    pthread_setname_np("fastlstm");
#endif
    serve(w);
    return NULL;
}

/* Signals sent to the process are for other threads, the interpreter's main thread above all.
   Those a thread raises itself stay open, for a crash to be reported where it happens. */
static int start(worker *w)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t blocked, before;
    if (pthread_attr_init(&attr))
        return 0;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&blocked, own[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int e = pthread_create(&thread, &attr, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return e == 0;
}
#endif

enum { IDLE, ASLEEP, ASKED, RUNNING, AWAITED };

struct worker {
    _Alignas(64) atomic_int state; /* a cache line apart from other workers' */
    void (*work)(void *, size_t);  /* the call, written by its caller before ASKED */
    void *arg;
    size_t index;
    worker *next; /* among the idle, or among its caller's */
    mutex lock;   /* held to fall asleep, and passed through to wake */
    condition wake;
};

/* Static, so that it costs memory only as far as it is used, and none can be refused. */
static struct {
    mutex lock;
    worker *idle; /* the last to work first: it is the likeliest to be awake */
    size_t alive; /* worker[0 .. alive - 1] have threads */
    size_t forks; /* that lie between this process and the team's first use */
    worker worker[MAX_WORKERS];
} team = {.lock = MUTEX_INIT};

/* Returns when w's state is neither `from` nor `asleep`, the state of sleeping in `from`. */
static void wait_while(worker *w, int from, int asleep, double spin)
{
    for (double end = spin > 0 ? fl_clock() + spin : 0; spin > 0; spin = end - fl_clock())
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(&w->state, memory_order_acquire) != from)
                return;
            cpu_pause();
        }
    lock(&w->lock);
    int expected = from;
    atomic_compare_exchange_strong(&w->state, &expected, asleep);
    while (atomic_load_explicit(&w->state, memory_order_acquire) == asleep)
        condition_wait(&w->wake, &w->lock);
    unlock(&w->lock);
}

/* Gives w a new state, and wakes the thread that sleeps in `asleep`, if that was the old one. */
static void hand_over(worker *w, int state, int asleep)
{
    if (atomic_exchange_explicit(&w->state, state, memory_order_acq_rel) != asleep)
        return;
    lock(&w->lock); /* it let go of the lock when it slept */
    unlock(&w->lock);
    condition_signal(&w->wake);
}

static void serve(worker *w)
{
    fesetenv(FE_DFL_ENV); /* a thread inherits its maker's */
    for (double spin = 0;;) {
        wait_while(w, IDLE, ASLEEP, spin);
        int asked = ASKED;
        spin = 0; /* taken back: the call may be long over */
        if (atomic_compare_exchange_strong(&w->state, &asked, RUNNING)) {
            w->work(w->arg, w->index);
            hand_over(w, IDLE, AWAITED);
            spin = SPIN_SECONDS;
        }
    }
}

/* A new worker for a call that wants n. One call alone gets all it asks for; when others hold the
   workers, there are more only for CPUs that would stand idle. */
static worker *make(size_t n)
{
    worker *w = &team.worker[team.alive];
    if (team.alive == MAX_WORKERS || (team.alive >= n && team.alive + 1 >= cpus()))
        return NULL;
    atomic_init(&w->state, IDLE);
    lock_init(&w->lock); /* after a fork for the second time: its first thread is not here */
    condition_init(&w->wake);
    if (!start(w))
        return NULL;
    team.alive++;
    return w;
}

/* Up to n workers that are the caller's until it gives them back. */
static worker *take(size_t n, size_t *forks)
{
    worker *mine = NULL;
    lock(&team.lock);
    *forks = team.forks;
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

static void give_back(worker *mine, size_t forks)
{
    lock(&team.lock);
    for (worker *w = mine, *next; w && forks == team.forks; w = next) {
        next = w->next;
        w->next = team.idle;
        team.idle = w;
    }
    unlock(&team.lock);
}

void fl_team_run(size_t threads, void (*work)(void *arg, size_t worker), void *arg)
{
    size_t forks = 0;
    worker *mine = threads > 1 && fork_ready() ? take(threads - 1, &forks) : NULL;
    for (worker *w = mine; w; w = w->next) {
        w->work = work;
        w->arg = arg;
        hand_over(w, ASKED, ASLEEP);
    }
    work(arg, 0);
    for (worker *w = mine; w; w = w->next) {
        int asked = ASKED;
        atomic_compare_exchange_strong(&w->state, &asked, IDLE);
    }
    for (worker *w = mine; w; w = w->next)
        wait_while(w, RUNNING, AWAITED, SPIN_SECONDS);
    if (mine)
        give_back(mine, forks);
}

size_t fl_team_size(void)
{
    lock(&team.lock);
    size_t n = team.alive;
    unlock(&team.lock);
    return n;
}

#if !defined(_WIN32)
static void before_fork(void) { lock(&team.lock); }
static void after_fork(void) { unlock(&team.lock); }

/* The only thread here is the one that forked. Should it be inside a call, that finds its workers
   idle, and gives none back. */
static void after_fork_in_child(void)
{
    for (size_t i = 0; i < team.alive; i++)
        atomic_store(&team.worker[i].state, IDLE);
    team.idle = NULL;
    team.alive = 0;
    team.forks++;
    lock_init(&team.lock);
}
#endif
