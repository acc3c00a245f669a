/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map counters: per-CPU array, by enum counter. Written by bpf/lib/counters.h. */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum counter {
  COUNT_FORWARDED,    /* of a known connection, or let through by a judgement */
  COUNT_JUDGED,       /* judgements of new connections */
  COUNT_REJUDGED,     /* judgements of known ones, after a change that may concern them */
  COUNT_REDIRECTED,   /* of those forwarded, past the rest of the stack */
  COUNT_RETRIED,      /* judgements begun anew, as a batch came to show meanwhile */
  DROP_MALFORMED,     /* headers that are cut short or contradict themselves */
  DROP_NOT_IP,        /* neither IP nor ARP */
  DROP_SPOOFED,       /* source is not an address of the workload, or the workload is not known */
  DROP_NOT_OURS,      /* destination is not an address of the workload, or the workload is not known */
  DROP_POLICY,        /* of a new connection */
  DROP_REVOKED,       /* of a connection that was let through before */
  DROP_INVALID,       /* cannot begin a connection */
  DROP_FRAGMENT,      /* its first fragment has not been let through here */
  DROP_TO_HOST,       /* defaultEndpointToHostAction */
  DROP_NO_MEMORY,     /* for a connection, or for what the packet was to become */
  DROP_CHANGING,      /* batches came faster than it could be judged */
  COUNT_EVENTS_FULL,  /* events lost: nobody reads the ring, or not fast enough */
  COUNT_EVENTS_SHARE, /* the same, of an interface that had its share of what room there was */
  COUNT_ANSWERED,     /* of those dropped, with a reset or an ICMP error */
  COUNT_LOGGED,       /* packets that passed Log rules and were let through, and begin no connection */
  COUNT_ENCAPSULATED, /* of those redirected, into a tunnel to another host */
  DROP_NO_WAY_BACK,   /* came in from where no route leads */
  COUNT_TRANSLATED,   /* of those redirected, with another source, or destination, as the kernel translates */
  DROP_NO_ROUTE,      /* from a workload to where no route leads */
  COUNT_UNTOLD,       /* packets of connections that gave way, of which nobody will tell (maps/ledger.h) */
  COUNTERS_MAX,
};

OCICAT_LAYOUT_END
