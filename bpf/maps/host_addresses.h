/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map host_addresses: hash of addresses that the host itself has (struct address) to 1. They decide what a
 * workload is told of a packet that goes nowhere, and nothing about where it may go.
 * Written by dataplane/ebpf/; read by bpf/lib/host_addresses.h.
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum { HOST_ADDRESSES_MAX = 65536 };

OCICAT_LAYOUT_END
