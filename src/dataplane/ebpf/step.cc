#include "dataplane/ebpf/step.h"

#include <utility>

namespace ocicat::dataplane::ebpf {

Result<void> Step::finish() {
  if (!shows_something()) return {};
  shows_ = false;
  const auto stale = std::exchange(stale_, {});
  const auto afterwards = std::exchange(afterwards_, {});
  write(host_.batch, ++batch_);
  for (const auto& one : stale) std::memcpy(one.place, one.fresh, one.size);
  for (const auto& work : afterwards) TRY_VOID(work());
  // The same side, and another number: a judgement that may still hold what has just been removed begins anew
  // before a later step uses that again.
  if (!afterwards.empty()) write(host_.batch, batch_ += 2);
  return {};
}

}  // namespace ocicat::dataplane::ebpf
