#include "dataplane/ebpf/floating_image.h"

#include <cstring>

#include "dataplane/ebpf/address_image.h"
#include "maps/layout.h"

namespace ocicat::dataplane::ebpf {

using kernel::bpf::bytes_of;

Result<bool> FloatingImage::update(Step& step) {
  bool comes = false;
  for (const auto& [address, own] : wanted_) {
    const auto there = there_.find(address);
    if (there != there_.end() && there->second == own) continue;
    const auto key = address_of(address), value = address_of(own);
    TRY_VOID(map_.put(bytes_of(key), bytes_of(value)));
    step.count_write();
    comes |= there == there_.end();
    there_.insert_or_assign(address, own);
  }
  return comes;
}

Result<bool> FloatingImage::resync(Step& step) {
  there_.clear();
  TRY_VOID(map_.for_each([&](auto key, auto value) {
    bpf::address address{}, own{};
    std::memcpy(&address, key.data(), sizeof address);
    std::memcpy(&own, value.data(), sizeof own);
    there_.emplace(address_of(address), address_of(own));
  }));
  return update(step);
}

Result<void> FloatingImage::settle(Step& step) {
  for (auto at = there_.begin(); at != there_.end();) {
    if (wanted_.contains(at->first)) {
      ++at;
      continue;
    }
    const auto key = address_of(at->first);
    TRY_VOID(map_.remove(bytes_of(key)));
    step.count_write();
    at = there_.erase(at);
  }
  return {};
}

}  // namespace ocicat::dataplane::ebpf
