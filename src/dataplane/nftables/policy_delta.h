// A step from one content of the kernel's maps to the next, in up to four transactions.
//
// Interval maps are late: Linux answers from what they were until a commit is over, while hash maps show what
// is new at once (net/netfilter/nft_set_rbtree.c from 6.18 on: the array that is searched is exchanged last),
// and older kernels may find nothing there meanwhile. So what interval maps say of anything in use changes
// only in transactions that change nothing else, and in which old and new mean the same; what decides is
// exchanged in hash maps, all at once.
//
//   prepared  leaves every verdict as it is. New tables and programs that nothing leads to yet; nets of their
//             own for addresses whose class will change, as yet with the class that they have. Cells that
//             will say something else under the same id go: who asks for them until the step is over is
//             dropped. Nobody sends any more from where he will not be allowed to
//   step      the step itself. A packet may read one map before it and the next one after it: where that
//             matters, the step has a new number, by which rules know that they must begin again
//   settled   intervals of nets that are gone, merged into what is around them, which means the same by now;
//             from where else workloads may send
//   garbage   what nothing leads to any more: a packet that is being judged meanwhile finds its way out
#pragma once

#include <set>

#include "dataplane/nftables/entries.h"
#include "kernel/nft.h"

namespace ocicat::dataplane {

struct Transaction {
  Entries removed;
  Entries added;

  bool empty() const { return removed.empty() && added.empty(); }
};

struct PolicyDelta {
  Transaction prepared;
  Transaction step;
  Transaction settled;
  Entries garbage;
  LogChains new_logs;  // made in `prepared`, together with the answers that lead to them
  LogChains old_logs;  // gone with the garbage
  bool rules_changed = false;

  bool empty() const {
    return prepared.empty() && step.empty() && settled.empty() && garbage.empty() && !rules_changed;
  }
};

// Whether a packet that reads some of it before the step and some after it may find what neither says.
// `two_classes`: there are host endpoints or senders from elsewhere, where a packet reads the classes of two.
bool needs_number(const Transaction& step, bool two_classes);

// What goes and what comes, where `before` is to become `after`, added to `transaction`.
void add_difference(Entries before, Entries after, Transaction& transaction);

// The difference between what the kernel holds and what it should; both in order. Intervals of addresses that
// are not what they should be go first, so that strangers in them are dropped until the step is over. What rules do not
// read before the step (`unread`) is there by then.
PolicyDelta difference(const Entries& actual, const Entries& wanted, const std::set<Map>& unread = {});

// Of each map, what goes before what comes.
kernel::nft::Batch to_batch(const Transaction& transaction);

}  // namespace ocicat::dataplane
