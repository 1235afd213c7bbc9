/* SPDX-License-Identifier: MIT */
/* forward.c implements fl_forward and fl_forward_workspace, which fastlstm.h declares. */
#ifndef FL_FORWARD_H
#define FL_FORWARD_H

#include "fastlstm.h"

#endif
