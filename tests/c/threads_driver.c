/* SPDX-License-Identifier: MIT */
/*
 * The team of csrc/base/threads.c without Python: prints what it saw, and exits with 0 if all was
 * right.
 *
 *     threads_driver calls N     N calls of 1 .. 16 threads from 6 threads: every part is done
 *                                once, by workers of the call, and nothing runs after the return
 *     threads_driver fork N      N children that use the team, of a process that keeps using it
 *     threads_driver nested N    calls within calls
 *     threads_driver idle N      workers fall asleep and stay so; and the processor time in
 *                                the 100 ms that begin 1 ms after a call, which is printed
 *     threads_driver apart N     a sleeping worker is woken on another CPU than its caller's
 *     threads_driver back N      workers that are still asleep are taken back, not waited for
 *     threads_driver state N     workers' signals, name and floating-point environment
 *     threads_driver starved N   N calls with no memory for more threads
 *     threads_driver refused N   N calls each while the system makes no thread, two of three, all
 *     threads_driver exit HOW    the process ends while workers work (0), spin (1) or sleep (2)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fenv.h>
#include <float.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "threads_apart.h"
#include "threads_calls.h"

static void test_refused(size_t n)
{
    uint64_t state = 1;
    job j = {.part_time = 1e-6};
    const unsigned each[] = {1, 3, 0};
    for (int i = 0; i < 3; i++) {
        atomic_store(&refuse_one_of, each[i]);
        for (size_t call = 0; call < n; call++)
            CHECK(run_job(&j, THREADS, PARTS, &state) == 0 || i > 0);
        CHECK((fl_team_size() == 0) == (i == 0));
        printf("%zu workers\n", fl_team_size());
    }
    CHECK(fl_team_size() == THREADS - 1);
    call_all(THREADS - 1, NULL);
}

static void test_calls(size_t n)
{
    const double end = seconds(CLOCK_MONOTONIC) + HANG;
    size_t helped = 0, made = 0;
    do { /* again where others have the CPUs that the workers need */
        begin_callers(CALLERS, n, NULL);
        helped += end_callers(CALLERS);
        made += n;
    } while (helped <= n / 100 && seconds(CLOCK_MONOTONIC) < end);
    const size_t cpus = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    printf("%zu calls, %zu times a worker took part, %zu workers\n", made, helped, fl_team_size());
    call_all(fl_team_size(), NULL);
    CHECK(helped > n / 100);
    CHECK(fl_team_size() >= 1 && fl_team_size() <= (cpus > THREADS ? cpus : THREADS) - 1);
}

/* What a child does until it ends: its status is 0, or 3 if no worker took part in its calls. */
static void child_work(uint64_t seed)
{
    static job j; /* the parent's may be in use by a call that forked */
    uint64_t state = seed;
    alarm(2 * HANG);
    CHECK(fl_team_size() == 0);
    for (int i = 0; i < 6; i++) {
        j.part_time = i < 5 ? 0 : 20e-6;
        run_job(&j, 2 + draw(&state) % (THREADS - 1), PARTS, &state);
    }
    CHECK(fl_team_size() > 0 && fl_team_size() < THREADS);
    call_all(fl_team_size(), NULL);
    if (seed % 2)
        _exit(0);
    exit(0);
}

static void fork_within(void *arg, size_t worker)
{
    rest(worker ? 1e-3 : 0.2e-3); /* workers are at work when the caller forks */
    if (!worker)
        *(pid_t *)arg = fork();
}

static void *call_without_end(void *stop)
{
    atomic_size_t none = 0;
    while (!atomic_load((atomic_int *)stop))
        fl_team_run(3, count, &none);
    return NULL;
}

/* This thread forks, every fourth time within a call, while other threads keep the team at work. */
static void test_fork(size_t n)
{
    atomic_int stop = 0;
    begin_callers(1, 1, &stop);
    for (int i = 1; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, call_without_end, &stop) == 0);
    for (size_t i = 0; i < n; i++) {
        uint64_t state = i;
        job j = {.open = 0};
        run_job(&j, 1 + draw(&state) % THREADS, PARTS, &state);
        pid_t child = -1;
        if (i % 4 == 3)
            fl_team_run(4, fork_within, &child);
        else
            child = fork();
        CHECK(child >= 0);
        if (child == 0)
            child_work(i);
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    atomic_store(&stop, 1);
    end_callers(4);
    printf("%zu children\n", n);
}

/* A sum over a tree of calls: each call of depth d holds 6 calls of depth d - 1. */
typedef struct tree {
    int depth;
    atomic_size_t next, sum;
} tree;

static void grow(void *arg, size_t worker)
{
    tree *t = arg;
    (void)worker;
    while (atomic_fetch_add(&t->next, 1) < 6) {
        tree below = {.depth = t->depth - 1};
        if (below.depth)
            fl_team_run(5, grow, &below);
        else
            atomic_store(&below.sum, 1);
        atomic_fetch_add(&t->sum, atomic_load(&below.sum));
    }
}

static void *grow_many(void *arg)
{
    for (size_t i = 0; i < *(size_t *)arg; i++) {
        tree t = {.depth = 3};
        fl_team_run(5, grow, &t);
        CHECK(atomic_load(&t.sum) == 6 * 6 * 6);
    }
    return NULL;
}

static void test_nested(size_t n)
{
    for (size_t i = 0; i < CALLERS; i++)
        CHECK(pthread_create(&threads[i], NULL, grow_many, &n) == 0);
    end_callers(CALLERS);
    printf("%d x %zu trees, %zu workers\n", CALLERS, n, fl_team_size());
}

#if defined(__linux__)
/* How often the system has switched to and from the workers; 0 unless all of them are asleep. */
static size_t switched(void)
{
    size_t workers = 0, asleep = 0, times = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks);
    for (struct dirent *task; (task = readdir(tasks));) {
        char path[300], line[256], state = 0;
        size_t n = 0, more;
        int worker = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *f = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        while (f && fgets(line, sizeof line, f)) {
            worker |= !strcmp(line, "Name:\tfastlstm\n");
            sscanf(line, "State: %c", &state);
            if (sscanf(line, "voluntary_ctxt_switches: %zu", &more) == 1 ||
                sscanf(line, "nonvoluntary_ctxt_switches: %zu", &more) == 1)
                n += more;
        }
        if (f)
            fclose(f);
        workers += (size_t)worker;
        asleep += worker && state == 'S';
        times += worker ? n : 0;
    }
    closedir(tasks);
    CHECK(workers == THREADS - 1);
    return asleep == workers ? times : 0;
}

/* Each worker falls asleep, however late it gets a CPU, and for 100 ms nothing wakes it up. */
static void all_fall_asleep(void)
{
    const double end = seconds(CLOCK_MONOTONIC) + HANG;
    for (size_t before = 0, after = 0; !before || before != after;) {
        CHECK(seconds(CLOCK_MONOTONIC) < end);
        before = switched();
        rest(100e-3);
        after = switched();
    }
}
#else
static void all_fall_asleep(void) {}
#endif

static void test_idle(size_t n)
{
    double worst = 0;
    const int separate = separate_caller();
    for (size_t i = 0; i < n; i++) {
        uint64_t state = i;
        job j = {.part_time = 5e-6};
        for (int call = 0; call < 20; call++)
            run_job(&j, THREADS, PARTS, &state);
        rest(1e-3);
        const double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
        rest(100e-3);
        const double used = seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
        worst = used > worst ? used : worst;
        all_fall_asleep();
    }
    printf("%.0f us of processor time in 100 ms%s\n", 1e6 * worst, separate ? "" : ", on one CPU");
    CHECK(fl_team_size() == THREADS - 1);
}

/* Calls in which the caller has nothing to do and 15 workers sleep. The last of them, on another
   CPU, will not have started before the caller is done, so all take part only if the call waits. */
static void test_back(size_t n)
{
    atomic_size_t started = 0;
    size_t all = 0, made = 0;
    const double end = seconds(CLOCK_MONOTONIC) + HANG;
    const int separate = separate_caller();
    fl_team_run(THREADS, count, &started);
    CHECK(fl_team_size() == THREADS - 1);
    for (; made < n || (all == made && separate && seconds(CLOCK_MONOTONIC) < end); made++) {
        rest(1e-3);
        atomic_store(&started, 0);
        fl_team_run(THREADS, count, &started);
        const size_t now = atomic_load(&started);
        all += now == THREADS - 1;
        rest(0.2e-3);
        CHECK(atomic_load(&started) == now);
    }
    printf("all workers took part in %zu of %zu calls%s\n", all, made,
           separate ? "" : ", on one CPU");
    CHECK(all < made || !separate);
}

/* What test_state checks in each worker. */
static void look(void)
{
    sigset_t set;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &set) == 0);
    CHECK(sigismember(&set, SIGINT) == 1 && sigismember(&set, SIGALRM) == 1);
    CHECK(sigismember(&set, SIGUSR1) == 1 && sigismember(&set, SIGTERM) == 1);
    CHECK(sigismember(&set, SIGSEGV) == 0 && sigismember(&set, SIGBUS) == 0);
    CHECK(fegetround() == FE_TONEAREST);
    volatile float tiny = FLT_MIN;
    tiny = tiny / 2;
    CHECK(tiny > 0);
#if defined(__linux__) || defined(__APPLE__)
    char name[32] = "";
    CHECK(pthread_getname_np(pthread_self(), name, sizeof name) == 0);
    CHECK(strcmp(name, "fastlstm") == 0);
#endif
}

static void test_state(size_t n)
{
    sigset_t before, after;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &before) == 0);
    CHECK(fesetround(FE_UPWARD) == 0);
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040); /* tiny values are zero */
#endif
    call_all(n, look);
    CHECK(fegetround() == FE_UPWARD);
    CHECK(fesetenv(FE_DFL_ENV) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0);
    for (int s = 1; s < 32; s++)
        CHECK(sigismember(&before, s) == sigismember(&after, s));
    printf("%zu workers are as promised\n", n);
}

/* Room in the address space for some stacks of 512 KiB, but not for 15. */
static void test_starved(size_t n)
{
    struct rlimit was, tight;
    size_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%zu", &pages) == 1 && fclose(f) == 0);
    CHECK(getrlimit(RLIMIT_AS, &was) == 0);
    tight = was;
    tight.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)3 << 20);
    CHECK(setrlimit(RLIMIT_AS, &tight) == 0);
    uint64_t state = 1;
    job j = {.part_time = 5e-6};
    for (size_t i = 0; i < n; i++)
        run_job(&j, THREADS, PARTS, &state);
    const size_t few = fl_team_size();
    CHECK(setrlimit(RLIMIT_AS, &was) == 0);
    run_job(&j, THREADS, PARTS, &state);
    printf("%zu workers, then %zu\n", few, fl_team_size());
    CHECK(few >= 1 && few < THREADS - 1);
    CHECK(fl_team_size() == THREADS - 1);
}

static void work_on(void *arg, size_t worker)
{
    (void)worker;
    atomic_fetch_add((atomic_int *)arg, 1);
    spin(60);
}

static void *work_long(void *arg)
{
    fl_team_run(4, work_on, arg);
    return NULL;
}

static void test_exit(size_t how)
{
    static atomic_int at_work;
    if (how == 0) {
        CHECK(pthread_create(&threads[0], NULL, work_long, &at_work) == 0);
        while (atomic_load(&at_work) < 2)
            rest(1e-3);
    } else {
        uint64_t state = 1;
        job j = {.part_time = 5e-6};
        run_job(&j, THREADS, PARTS, &state);
        if (how == 2)
            rest(10e-3);
    }
    CHECK(fl_team_size() > 0);
    printf("the end\n");
    exit(0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(size_t n);
    } tests[] = {{"calls", test_calls},    {"fork", test_fork},   {"nested", test_nested},
                 {"idle", test_idle},      {"apart", test_apart}, {"back", test_back},
                 {"state", test_state},    {"exit", test_exit},   {"starved", test_starved},
                 {"refused", test_refused}};
    for (size_t i = 0; argc == 3 && i < sizeof tests / sizeof *tests; i++)
        if (!strcmp(argv[1], tests[i].name)) {
            tests[i].run(strtoul(argv[2], NULL, 10));
            return 0;
        }
    return 2;
}
