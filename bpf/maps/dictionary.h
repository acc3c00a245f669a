/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map dictionary: digest of a meaning to its id (policy/tables.h, Dictionary). No program reads it: an agent
 * that starts again finds the ids it would give already in the kernel. Written and read by dataplane/ebpf/.
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum { DICTIONARY_MAX = 512 * 1024 };

struct meaning {
  __u8 digest[16];
  __u32 space; /* enum IdSpace */
};
OCICAT_SIZE(struct meaning, 20);

OCICAT_LAYOUT_END
