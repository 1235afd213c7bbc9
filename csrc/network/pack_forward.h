/* SPDX-License-Identifier: MIT */
/* pack_forward.c implements fl_net_set and fl_net_set_peepholes, which fastlstm.h declares. */
#ifndef FL_PACK_FORWARD_H
#define FL_PACK_FORWARD_H

#include "fastlstm.h"

#endif
