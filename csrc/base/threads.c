/* SPDX-License-Identifier: MIT */
/*
 * Each worker has one state. It says which side, the caller or the worker, acts next, and every
 * change of it passes the worker from one side to the other:
 *
 *     IDLE or ASLEEP --caller--> ASKED --worker--> RUNNING or AWAITED --worker--> IDLE
 *                                  +----caller, taking it back----> IDLE
 *
 *     RUNNING --caller, not waiting--> LEFT --worker, joining the idle itself--> IDLE
 *
 * The side that waits spins a little. Then it changes the state to the one of a sleeper, a worker
 * IDLE to ASLEEP and a caller RUNNING to AWAITED, and sleeps on the worker's condition. The other
 * side sees the sleeper's state when it exchanges the state for the next one, and wakes the
 * sleeper. From take() to give_back() a worker belongs to one caller, so at most one thread sleeps
 * on its condition. Callers share nothing but the list of idle workers. Workers live until the
 * process ends.
 */
#if defined(__linux__)
#define _GNU_SOURCE /* CPU_COUNT, names; POSIX in a strict C11 compile */
#endif

#include "base/threads.h"

#include <fenv.h>
#include <stdatomic.h>

#include "base/clock.h"

enum { MAX_WORKERS = 1023, STACK_BYTES = 512 << 10 };

/* How long a worker spins after its work before it falls asleep, and a caller that waits for its
   last workers. To wake a sleeper took 20 to 55 us, to reach a spinning thread 0.8 us. So a longer
   spin costs more than it can save, and a much shorter one lets workers fall asleep between the
   calls of a stream, which are 5 to 20 us apart. */
static const double SPIN_SECONDS = 50e-6;

/* How long a caller of fl_team_lend waits for its workers, though it need not: a worker that is
   still away is missing in a call that follows immediately. */
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
#if defined(__linux__)
#include <sys/prctl.h>
#endif

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

/* Makes a worker's thread. It blocks the signals that are sent to the process, which are for other
   threads, the interpreter's main thread above all, and leaves those of faults of the thread itself
   open, so that a crash is reported where it happens. */
static int start(worker *w)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    for (int i = 0; i < 4; i++)
        sigdelset(&all, faults[i]);
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
    _Alignas(64) atomic_int state; /* no other worker's is in the same cache line */
    void (*work)(void *, size_t);  /* the call, written by its caller before ASKED */
    void *arg;
    void (*release)(
        void *); /* what a worker that is LEFT calls at its end; NULL: it is waited for */
    size_t index;
    int cpu;      /* the CPU that the caller was on when it asked; -1: not known */
    worker *next; /* in the list of idle workers, or in its caller's list */
    mutex lock;   /* held to fall asleep, and passed through to wake */
    condition wake;
#if defined(__linux__)
    pthread_t thread;
    cpu_set_t cpus; /* that it may use, while `moved` */
#endif
    int moved; /* its caller keeps it off the caller's CPU */
};

/* Static, so it cannot fail to be allocated; pages that are not used take no memory. */
static struct {
    mutex lock;
    worker *idle;        /* the worker that worked last is first, as it is likely to be awake */
    atomic_size_t alive; /* worker[0 .. alive - 1] have threads */
    size_t forks;        /* 1 in a child, 2 in its child and so on; only forget() writes it */
    worker worker[MAX_WORKERS];
} team = {.lock = MUTEX_INIT};

#if defined(_WIN32)
static int fork_safe(void) { return 1; }
#else
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_handled;

/* Runs in the child after a fork, where no worker exists. It writes everything anew, so at the time
   of the fork any lock may be held and any list half changed. */
static void forget(void)
{
    team.idle = NULL;
    team.alive = 0;
    team.forks++;
    lock_init(&team.lock);
}

static void handle_fork(void) { fork_handled = !pthread_atfork(NULL, NULL, forget); }

/* Registers forget(), before the lock is first taken. May workers be used? */
static int fork_safe(void) { return !pthread_once(&fork_once, handle_fork) && fork_handled; }
#endif

/*
 * Linux may wake a worker on the CPU of its caller, though another one is idle: if that had
 * something to do at this very moment, or if all have been busy lately, so that it looks at no
 * other. The worker then waits there until the scheduler's next look, which is milliseconds away:
 * on two CPUs one model in three ran on one of them, for 10 ms instead of 6. So where CPUs are few
 * a caller keeps a worker off its own CPU while it wakes it, and the worker itself ends that. It
 * takes 1 to 2 us. Among many CPUs the system finds an idle one. Where system calls are filtered
 * (seccomp), a change of affinity may be what ends the process, so there all is left as it is.
 */
#if defined(__linux__)
enum { FEW_CPUS = 4 };

static void keep_off(worker *w, int cpu)
{
    if (prctl(PR_GET_SECCOMP) || pthread_getaffinity_np(w->thread, sizeof w->cpus, &w->cpus))
        return;
    const int count = CPU_COUNT(&w->cpus);
    if (count > FEW_CPUS || w->index >= (size_t)count || !CPU_ISSET(cpu, &w->cpus))
        return;
    cpu_set_t others = w->cpus;
    CPU_CLR(cpu, &others);
    w->moved = !pthread_setaffinity_np(w->thread, sizeof others, &others);
}

static void come_back(worker *w)
{
    if (w->moved)
        pthread_setaffinity_np(w->thread, sizeof w->cpus, &w->cpus);
    w->moved = 0;
}

static void know_thread(worker *w) { w->thread = pthread_self(); }
#else
static void keep_off(worker *w, int cpu) { (void)w, (void)cpu; }
static void come_back(worker *w) { (void)w; }
static void know_thread(worker *w) { (void)w; }
#endif

/* Spins while w is in the state, for at most `spin` seconds. Has w left the state? */
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

/* Gives w a new state and returns the old one. If the old one is `asleep`, a thread sleeps on w's
   condition, and is woken. */
static int hand_over(worker *w, int state, int asleep)
{
    const int old = atomic_exchange_explicit(&w->state, state, memory_order_acq_rel);
    if (old == asleep) {
        lock(&w->lock); /* the sleeper holds it until it waits on the condition */
        unlock(&w->lock);
        condition_signal(&w->wake);
    }
    return old;
}

/* Hands its call, which is written, to w, which belongs to the caller on this CPU. */
static void ask(worker *w, int cpu)
{
    if (cpu >= 0 && atomic_load_explicit(&w->state, memory_order_acquire) == ASLEEP) {
        lock(&w->lock); /* w holds it but for the time that it sleeps */
        keep_off(w, cpu);
        unlock(&w->lock);
    }
    hand_over(w, ASKED, ASLEEP);
}

/* Puts w, which is idle and belongs to no caller, on the list of idle workers. */
static void rejoin(worker *w)
{
    lock(&team.lock);
    w->next = team.idle;
    team.idle = w;
    unlock(&team.lock);
}

/* What a worker's thread runs until the process ends. It does not spin after work that it did on
   its caller's CPU, because that kept the caller from running: a call took 52 us instead of 2. */
static void serve(worker *w)
{
    fesetenv(FE_DFL_ENV); /* a thread inherits the environment of the thread that made it */
    know_thread(w);
    for (double spin = 0;;) {
        wait_while(w, IDLE, ASLEEP, spin);
        come_back(w);
        spin = 0; /* a worker that was taken back may have woken long after the call */
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

/* A new worker for a call that wants n, or NULL. The team grows to n workers for any call; beyond
   that, for calls at the same time, only as far as there are CPUs. Called with the lock held. */
static worker *make(size_t n)
{
    worker *w = &team.worker[team.alive];
    if (team.alive == MAX_WORKERS || (team.alive >= n && team.alive + 1 >= fl_cpus()))
        return NULL;
    atomic_init(&w->state, IDLE);
    lock_init(&w->lock);
    condition_init(&w->wake);
    w->moved = 0;
    if (!start(w))
        return NULL;
    team.alive++;
    return w;
}

/* A list of up to n workers, which belong to the caller until it gives them back. */
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

/* fl_team_run if `release` is NULL, otherwise fl_team_lend. */
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
        ask(w, cpu);
    }
    work(arg, 0);
    if (forks != team.forks || !mine) /* in a child that `work` has forked, or without workers */
        return 0;
    for (worker *w = mine; w; w = w->next)
        atomic_compare_exchange_strong(&w->state, &(int){ASKED}, IDLE);
    for (worker **at = &mine, *w; (w = *at);) {
        worker *next = w->next; /* a worker that is LEFT puts itself on another list */
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
