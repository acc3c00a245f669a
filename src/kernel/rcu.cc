#include "kernel/rcu.h"

#include <fcntl.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mutex>

#include "base/unique_fd.h"

namespace ocicat::kernel {
namespace {

// Of those that are held in this process.
struct Expedited {
  std::mutex mutex;
  int holders = 0;
  UniqueFd setting;  // none: it is not ours to write
};

Expedited& expedited() {
  static Expedited all;
  return all;
}

}  // namespace

ExpeditedGracePeriods::ExpeditedGracePeriods() {
  auto& all = expedited();
  const std::scoped_lock lock(all.mutex);
  if (++all.holders > 1) return;
  UniqueFd setting(::open("/sys/kernel/rcu_expedited", O_RDWR | O_CLOEXEC));
  char value = 0;
  if (!setting || ::pread(setting.get(), &value, 1, 0) != 1 || value != '0') return;
  if (::pwrite(setting.get(), "1", 1, 0) == 1) all.setting = std::move(setting);
}

ExpeditedGracePeriods::~ExpeditedGracePeriods() {
  auto& all = expedited();
  const std::scoped_lock lock(all.mutex);
  if (--all.holders > 0 || !all.setting) return;
  [[maybe_unused]] const auto written = ::pwrite(all.setting.get(), "0", 1, 0);  // it was written before
  all.setting = {};
}

void wait_for_grace_period() {
  const ExpeditedGracePeriods at_once;
  ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

}  // namespace ocicat::kernel
