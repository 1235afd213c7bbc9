/* SPDX-License-Identifier: MIT */
/*
 * Calls on threads of their caller's (fl_call.run), as ONNX Runtime has them: a pool whose threads
 * come at once, late, or never, and indices that any of them takes, in any order and one after
 * another. Prints what happened, and exits with 0 if every bit was that of one thread.
 *
 *     session_driver N SEED    N calls of drawn shapes on 2 .. 4 threads
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "drawn_nets.h"

enum { POOL = 3 };

/* What happened, over all calls: later indices that ran on another thread than the first, and those
   that its own thread ran afterwards; calls whose first index the pool ran; helpers that joined. */
static atomic_size_t beside, afterwards, led_by_pool;

static void pass(uint64_t *state)
{
    const uint32_t drawn = draw(state) % 64;
    if (drawn < 24)
        return;
    if (drawn < 48)
        for (volatile int i = 0, n = (int)between(state, 1, 3000); i < n; i++)
            ;
    else if (drawn < 60)
        sched_yield();
    else
        nanosleep(&(struct timespec){0, 1000 * (long)between(state, 5, 300)}, NULL);
}

#if defined(FL_SPLIT_HOOK)
double fl_split_patience = 0.2; /* among many calls, few may wait long */
static _Thread_local uint64_t hook_state;
static atomic_size_t joined;

int fl_split_hook(const char *place)
{
    if (!hook_state)
        hook_state = (uint64_t)(uintptr_t)&hook_state;
    if (!strcmp(place, "joined"))
        atomic_fetch_add(&joined, 1);
    if (!strcmp(place, "in the way"))
        return draw(&hook_state) % 128 == 0;
    if (draw(&hook_state) % (strcmp(place, "beginning") ? 32 : 4) == 0)
        pass(&hook_state);
    return 0;
}
#endif

/* ---- the pool ---- */

/* One fl_call.run. Indices are claimed by whoever comes, as in a loop that ONNX Runtime divides; a
   thread that has not come when all are done is called off. */
typedef struct section {
    void (*work)(void *, size_t);
    void *arg;
    size_t threads;
    atomic_size_t next,
        started; /* indices claimed; workers that have begun, as call.c numbers them */
    _Atomic(pthread_t) leader; /* the thread of worker 0 */
} section;

typedef struct pool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    section *open;       /* what threads may join; NULL: nothing, or it has been called off */
    size_t inside, turn; /* pool threads within the section; sections so far */
    int over;
} pool;

static pool the_pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void take_indices(section *s, uint64_t *state, int of_pool)
{
    while (atomic_fetch_add(&s->next, 1) < s->threads) {
        pass(state);
        const size_t worker = atomic_fetch_add(&s->started, 1);
        if (!worker) {
            atomic_store(&s->leader, pthread_self());
            atomic_fetch_add(&led_by_pool, (size_t)of_pool);
        } else {
            const pthread_t leader = atomic_load(&s->leader);
            atomic_fetch_add(leader == pthread_self() ? &afterwards : &beside, 1);
        }
        s->work(s->arg, worker);
    }
}

static void *pool_thread(void *arg)
{
    uint64_t state = 77 + (uint64_t)(uintptr_t)arg;
    pool *p = &the_pool;
    size_t seen = 0;
    pthread_mutex_lock(&p->lock);
    while (!p->over) {
        if (!p->open || p->turn == seen) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        seen = p->turn;
        pthread_mutex_unlock(&p->lock);
        pass(&state); /* late, or past the end */
        pthread_mutex_lock(&p->lock);
        section *s = p->turn == seen ? p->open : NULL;
        if (!s)
            continue;
        p->inside++;
        pthread_mutex_unlock(&p->lock);
        take_indices(s, &state, 1);
        pthread_mutex_lock(&p->lock);
        p->inside--;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* fl_call.run */
static void run_in_pool(void *arg, size_t threads, void (*work)(void *, size_t), void *work_arg)
{
    uint64_t *state = arg;
    pool *p = &the_pool;
    section s = {.work = work, .arg = work_arg, .threads = threads};
    const int offered = draw(state) % 8 != 0; /* else the pool has other work */
    pthread_mutex_lock(&p->lock);
    p->open = offered ? &s : NULL;
    p->turn++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pass(state);
    take_indices(&s, state, 0);
    pthread_mutex_lock(&p->lock);
    p->open = NULL;
    while (p->inside)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    CHECK(atomic_load(&s.started) == threads);
}

/* ---- calls ---- */

/* One call of one thread, then `times` on the pool. */
static void compare(uint64_t *state, size_t times)
{
    static const int cells[] = {FL_LSTM, FL_GRU_BEFORE, FL_GRU};
    const fl_config f = {.cell = cells[draw(state) % 3],
                         .input = between(state, 1, 9),
                         .hidden = between(state, 17, 50),
                         .layers = draw(state) % 4 ? 1 : 2,
                         .dirs = draw(state) % 8 ? 1 : 2};
    fl_net *net = make_net(state, &f);
    fl_call call = {.batch = draw(state) % 2 ? 1 : between(state, 2, 9),
                    .steps = draw(state) % 3 ? between(state, 1, 12) : 1};
    const size_t wide = f.dirs * f.hidden, row = call.batch * wide, last = f.layers * row;
    float *x = floats(state, call.steps * call.batch * f.input, 2), *y[2], *hn[2];
    for (int i = 0; i < 2; i++) {
        y[i] = floats(state, call.steps * row, 1);
        hn[i] = floats(state, last, 1);
    }
    call.x = x, call.x_t = (ptrdiff_t)(call.batch * f.input), call.x_b = (ptrdiff_t)f.input;
    call.y_t = (ptrdiff_t)row, call.y_b = (ptrdiff_t)wide;
    for (size_t i = 0; i <= times; i++) {
        const int again = i > 0;
        call.threads = again ? between(state, 2, POOL + 1) : 1;
        call.run = again ? run_in_pool : NULL;
        call.run_arg = state;
        call.y = y[again], call.hn = hn[again];
        memset(y[again], -1, call.steps * row * sizeof(float));
        CHECK(fl_forward(net, &call) == FL_OK);
        CHECK(!memcmp(y[0], y[again], call.steps * row * sizeof(float)));
        CHECK(!memcmp(hn[0], hn[again], last * sizeof(float)));
    }
    for (int i = 0; i < 2; i++)
        fl_free(y[i]), fl_free(hn[i]);
    fl_free(x);
    fl_net_free(net);
}

int main(int argc, char **argv)
{
    const size_t n = argc > 2 ? strtoul(argv[1], NULL, 10) : 0, times = 20;
    uint64_t state = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    pthread_t thread[POOL];
    for (size_t i = 0; i < POOL; i++)
        CHECK(pthread_create(&thread[i], NULL, pool_thread, (void *)(uintptr_t)i) == 0);
    for (size_t i = 0; i < n; i += times)
        compare(&state, times);
    pthread_mutex_lock(&the_pool.lock);
    the_pool.over = 1;
    pthread_cond_broadcast(&the_pool.changed);
    pthread_mutex_unlock(&the_pool.lock);
    for (size_t i = 0; i < POOL; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    printf("%zu calls, beside %zu, afterwards %zu, led by the pool %zu, joined %zu\n", n,
           atomic_load(&beside), atomic_load(&afterwards), atomic_load(&led_by_pool),
           atomic_load(&joined));
    return 0;
}
