#include "dataplane/ebpf/host_address_image.h"

#include <cstring>
#include <utility>

#include "dataplane/ebpf/address_image.h"
#include "maps/host_addresses.h"

namespace ocicat::dataplane::ebpf {

using kernel::bpf::bytes_of;

Result<std::uint64_t> HostAddressImage::sync(const std::set<IpAddress>& wanted) {
  auto there = std::exchange(there_, std::nullopt);
  if (!there) {
    there.emplace();
    TRY_VOID(map_.for_each([&](auto key, auto) {
      bpf::address address{};
      std::memcpy(&address, key.data(), sizeof address);
      there->insert(address_of(address));
    }));
  }
  std::uint64_t writes = 0;
  for (const auto& address : *there) {
    if (wanted.contains(address)) continue;
    const auto key = address_of(address);
    TRY_VOID(map_.remove(bytes_of(key)));
    ++writes;
  }
  for (const auto& address : wanted) {
    if (there->contains(address)) continue;
    const auto key = address_of(address);
    const std::uint32_t is_own = 1;
    TRY_VOID(map_.put(bytes_of(key), bytes_of(is_own)));
    ++writes;
  }
  there_ = wanted;
  return writes;
}

}  // namespace ocicat::dataplane::ebpf
