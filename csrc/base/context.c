/* SPDX-License-Identifier: MIT */
#include "base/context.h"

#include "base/threads.h"

void fl_context_init(fl_context *context, const fl_kernels *kernels, int (*poll)(void *),
                     void *poll_arg)
{
    context->kernels = kernels;
    context->enter = context->leave = NULL;
    context->poll = poll;
    context->poll_arg = poll_arg;
    context->forks = fl_team_forks();
    atomic_init(&context->stopped, FL_OK);
}

/* A poll may run anything, another call on this thread among it. */
static int poll(const fl_context *context)
{
    if (!context->poll)
        return 0;
    if (context->leave)
        context->leave();
    const int stop = context->poll(context->poll_arg);
    if (context->enter)
        context->enter();
    return stop;
}

int fl_should_stop(fl_context *context, fl_slot *slot, double flop)
{
    slot->flop += flop;
    if (slot->flop < FL_POLL_FLOP)
        return 0;
    slot->flop = 0;
    if (slot->polls && poll(context))
        atomic_store_explicit(&context->stopped, FL_INTERRUPTED, memory_order_relaxed);
    else if (slot->polls && context->forks != fl_team_forks())
        atomic_store_explicit(&context->stopped, FL_FORKED, memory_order_relaxed);
    return fl_stopped(context) != FL_OK;
}
