/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map floating: hash of a floating address (struct address) to the own one (struct address) of the workload
 * here that is reached under it; both of one family. The kernel translates, by a table that says the same.
 * Written by dataplane/ebpf/; read by bpf/lib/floating.h.
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum { FLOATING_MAX = 65536 };

OCICAT_LAYOUT_END
