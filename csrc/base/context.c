/* SPDX-License-Identifier: MIT */
#include "base/context.h"

#include "base/threads.h"

void fl_context_init(fl_context *context, const fl_kernels *kernels, int (*poll)(void *),
                     void *poll_arg)
{
    context->kernels = kernels;
    context->poll = poll;
    context->poll_arg = poll_arg;
    context->forks = fl_team_forks();
    atomic_init(&context->stopped, FL_OK);
}

int fl_should_stop(fl_context *context, fl_slot *slot, double flop)
{
    slot->flop += flop;
    if (slot->flop < FL_POLL_FLOP)
        return 0;
    slot->flop = 0;
    if (slot->polls && context->poll && context->poll(context->poll_arg))
        atomic_store_explicit(&context->stopped, FL_INTERRUPTED, memory_order_relaxed);
    else if (slot->polls && context->forks != fl_team_forks())
        atomic_store_explicit(&context->stopped, FL_FORKED, memory_order_relaxed);
    return fl_stopped(context) != FL_OK;
}
