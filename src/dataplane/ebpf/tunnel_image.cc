#include "dataplane/ebpf/tunnel_image.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "dataplane/ebpf/address_image.h"

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::bytes_of;
using Headers = std::array<std::uint8_t, sizeof bpf::tunnel::header>;

void put(Headers& headers, std::size_t at, std::span<const std::uint8_t> bytes) {
  std::ranges::copy(bytes, headers.begin() + static_cast<std::ptrdiff_t>(at));
}

void put16(Headers& headers, std::size_t at, std::uint32_t value) {
  headers.at(at) = static_cast<std::uint8_t>(value >> 8);
  headers.at(at + 1) = static_cast<std::uint8_t>(value);
}

std::span<const std::uint8_t> v4_bytes(const IpAddress& address) {
  return std::span(address.bytes()).last<4>();
}

// Of the words in between, each as a program loads it: such a sum comes out right in either order. Folded, not
// inverted.
std::uint16_t sum_of(const Headers& headers, std::size_t from, std::size_t to) {
  std::uint32_t sum = 0;
  for (std::size_t at = from; at < to; at += 2) {
    std::uint16_t word = 0;
    std::memcpy(&word, &headers.at(at), sizeof word);
    sum += word;
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

void put_sum(Headers& headers, std::size_t at, std::uint16_t sum) {
  std::memcpy(&headers.at(at), &sum, sizeof sum);
}

constexpr std::uint8_t kHops = 64, kUdp = 17;
constexpr std::size_t kIpv4Header = 20, kIpv6Header = 40, kBehindIp = 30;
static_assert(kIpv4Header + kBehindIp == bpf::TUNNEL_HEADERS_V4);
static_assert(kIpv6Header + kBehindIp == bpf::TUNNEL_HEADERS_V6);
static_assert(sizeof bpf::tunnel::header >= bpf::TUNNEL_HEADERS_V6);

// UDP, VXLAN, Ethernet. RFC 768, 7348.
void put_behind_ip(Headers& headers, std::size_t udp, const TunnelEnd& end,
                   const kernel::VxlanConfig& config) {
  const auto vxlan = udp + 8, ethernet = vxlan + 8;
  put16(headers, udp + 2, config.port);
  headers.at(vxlan) = 8;  // there is a VNI
  put16(headers, vxlan + 4, config.vni >> 8);
  headers.at(vxlan + 6) = static_cast<std::uint8_t>(config.vni);
  put(headers, ethernet, end.mac.bytes);
  put(headers, ethernet + 6, config.mac.bytes);
  put16(headers, ethernet + 12, config.local.is_v4() ? 0x0800 : 0x86dd);
}

// RFC 791.
Headers headers_v4(const TunnelEnd& end, const kernel::VxlanConfig& config) {
  Headers headers{};
  headers[0] = 0x45;
  headers[8] = kHops;
  headers[9] = kUdp;
  put(headers, 12, v4_bytes(config.local));
  put(headers, 16, v4_bytes(end.host));
  put_sum(headers, 10, sum_of(headers, 0, kIpv4Header));
  put_behind_ip(headers, kIpv4Header, end, config);
  return headers;
}

// RFC 8200; its section 8.1: UDP's sum is over addresses and protocol as well, and over all that is tunnelled.
Headers headers_v6(const TunnelEnd& end, const kernel::VxlanConfig& config) {
  Headers headers{};
  put(headers, 8, config.local.bytes());
  put(headers, 24, end.host.bytes());
  put_behind_ip(headers, kIpv6Header, end, config);
  put16(headers, 6, kUdp);  // as the sum has it
  put_sum(headers, kIpv6Header + 6, sum_of(headers, 6, kIpv6Header + kBehindIp));
  headers[0] = 0x60;
  headers[6] = kUdp;
  headers[7] = kHops;
  return headers;
}

}  // namespace

// Between addresses of one family.
void TunnelImage::want(const TunnelInterface& interface, const IpAddress& vtep, const TunnelEnd& end) {
  const auto family = vtep.family();
  if (interface.link == 0 || end.host.family() != family || interface.config.local.family() != family) return;
  bpf::tunnel tunnel{};
  const auto headers = vtep.is_v4() ? headers_v4(end, interface.config) : headers_v6(end, interface.config);
  std::memcpy(tunnel.header, headers.data(), sizeof tunnel.header);
  tunnel.device = static_cast<std::uint32_t>(interface.link);
  tunnel.parent = static_cast<std::uint32_t>(interface.config.parent);
  tunnel.port = interface.source_ports.first;
  tunnel.ports = static_cast<std::uint16_t>(interface.source_ports.last - interface.source_ports.first);
  wanted_.insert_or_assign(vtep, tunnel);
}

void TunnelImage::want(Family family, const OpenTunnels& tunnels) {
  for (auto it = wanted_.begin(); it != wanted_.end();) {
    if (it->first.family() != family) {
      ++it;
      continue;
    }
    dirty_.insert(it->first);
    it = wanted_.erase(it);
  }
  for (const auto& [vtep, end] : tunnels.ends) {
    if (vtep.family() != family) continue;
    dirty_.insert(vtep);
    want(tunnels.interface, vtep, end);
  }
}

void TunnelImage::want(const TunnelInterface& interface, const Changes<IpAddress, TunnelEnd>& ends) {
  for (const auto& [vtep, end] : ends.entries()) {
    dirty_.insert(vtep);
    wanted_.erase(vtep);
    if (end) want(interface, vtep, *end);
  }
}

// What is there in the middle of being written differs whatever it says.
void TunnelImage::write(std::uint32_t slot, bpf::tunnel wanted) {
  auto& there = memory_[slot];
  wanted.version = there.version;
  if ((there.version & 1) == 0 && std::memcmp(&there, &wanted, sizeof there) == 0) return;
  const auto writing = there.version | 1;
  __atomic_store_n(&there.version, writing, __ATOMIC_SEQ_CST);
  wanted.version = writing;
  std::memcpy(&there, &wanted, sizeof there);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  __atomic_store_n(&there.version, writing + 1, __ATOMIC_SEQ_CST);
  ++writes_;
}

Result<void> TunnelImage::leave(const IpAddress& vtep) {
  const auto key = address_of(vtep);
  TRY_VOID(vteps_.remove(bytes_of(key)));
  ++writes_;
  return {};
}

Result<void> TunnelImage::add(const IpAddress& vtep, const bpf::tunnel& tunnel) {
  const auto slot = *free_.begin();
  write(slot, tunnel);
  const auto key = address_of(vtep);
  TRY_VOID(vteps_.put(bytes_of(key), bytes_of(slot)));
  ++writes_;
  free_.erase(slot);
  slots_.emplace(vtep, slot);
  return {};
}

// Of several VTEPs that lead to one slot the first has it.
Result<void> TunnelImage::read() {
  slots_.clear();
  free_.clear();
  for (std::uint32_t slot = 1; slot < memory_.size(); ++slot) free_.insert(slot);
  std::vector<IpAddress> odd;
  TRY_VOID(vteps_.for_each([&](auto key, auto value) {
    bpf::address address{};
    std::uint32_t slot = 0;
    std::memcpy(&address, key.data(), sizeof address);
    std::memcpy(&slot, value.data(), sizeof slot);
    if (free_.erase(slot) != 0) {
      slots_.emplace(address_of(address), slot);
    } else {
      odd.push_back(address_of(address));
    }
  }));
  for (const auto& vtep : odd) TRY_VOID(leave(vtep));
  for (const auto slot : free_) write(slot, {});
  return {};
}

// A slot that was free before goes to one that is new; one that comes to be free meanwhile does not.
Result<void> TunnelImage::update() {
  if (!known_) return resync();
  known_ = false;
  std::set<std::uint32_t> left;
  for (const auto& vtep : dirty_) {
    const auto there = slots_.find(vtep);
    if (there == slots_.end() || wanted_.contains(vtep)) continue;
    TRY_VOID(leave(vtep));
    write(there->second, {});
    left.insert(there->second);
    slots_.erase(there);
  }
  std::set<IpAddress> without_room;
  for (const auto& vtep : dirty_) {
    const auto wanted = wanted_.find(vtep);
    if (wanted == wanted_.end()) continue;
    if (const auto there = slots_.find(vtep); there != slots_.end()) {
      write(there->second, wanted->second);
    } else if (!free_.empty()) {
      TRY_VOID(add(vtep, wanted->second));
    } else {
      without_room.insert(vtep);
    }
  }
  dirty_ = std::move(without_room);
  free_.merge(left);
  known_ = true;
  return {};
}

Result<void> TunnelImage::resync() {
  TRY_VOID(read());
  for (const auto& [vtep, slot] : slots_) dirty_.insert(vtep);
  for (const auto& [vtep, tunnel] : wanted_) dirty_.insert(vtep);
  known_ = true;
  return update();
}

}  // namespace ocicat::dataplane::ebpf
