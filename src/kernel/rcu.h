// The kernel's grace periods, in which it waits until nobody can see any more what was replaced.
#pragma once

namespace ocicat::kernel {

// While any is held, grace periods are expedited. Attaching a program at a tcx hook waits for one, and so does
// detaching it or removing its interface, with the lock of all network interfaces held: 8 to 20 ms, like this
// 0.1. All processors are interrupted once for each. A host that has chosen by itself (rcu_expedited,
// rcu_normal), or lets nobody write there, stays as it is. Of a process that is killed meanwhile the setting
// stays, until somebody writes 0 to it. From any number of threads.
// Source: /sys/kernel/rcu_expedited, Documentation/admin-guide/kernel-parameters.txt.
class ExpeditedGracePeriods {
 public:
  ExpeditedGracePeriods();
  ~ExpeditedGracePeriods();
  ExpeditedGracePeriods(const ExpeditedGracePeriods&) = delete;
  ExpeditedGracePeriods& operator=(const ExpeditedGracePeriods&) = delete;
};

// Returns once nobody is left who may still see what was replaced before: no packet that is on its way through what
// was its rules. Returns at once where the kernel does not say when that is: where processors have no ticks
// (nohz_full), there is but one, or the call is forbidden.
// Source: membarrier(2), kernel/sched/membarrier.c.
void wait_for_grace_period();

}  // namespace ocicat::kernel
