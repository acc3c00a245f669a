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
void put_behind_ip(Headers& headers, std::size_t udp, const OpenTunnels::End& end,
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
Headers headers_v4(const OpenTunnels::End& end, const kernel::VxlanConfig& config) {
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
Headers headers_v6(const OpenTunnels::End& end, const kernel::VxlanConfig& config) {
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

void TunnelImage::want(Family family, const OpenTunnels& tunnels) {
  std::erase_if(wanted_, [&](const auto& entry) { return entry.first.family() == family; });
  const auto is_ours = [&](const IpAddress& address) { return address.family() == family; };
  for (const auto& [vtep, end] : tunnels.ends) {
    if (!is_ours(vtep) || !is_ours(end.host) || !is_ours(tunnels.config.local)) continue;
    bpf::tunnel tunnel{};
    const auto headers = vtep.is_v4() ? headers_v4(end, tunnels.config) : headers_v6(end, tunnels.config);
    std::memcpy(tunnel.header, headers.data(), sizeof tunnel.header);
    tunnel.device = static_cast<std::uint32_t>(tunnels.link);
    tunnel.parent = static_cast<std::uint32_t>(tunnels.config.parent);
    tunnel.port = tunnels.source_ports.first;
    tunnel.ports = static_cast<std::uint16_t>(tunnels.source_ports.last - tunnels.source_ports.first);
    wanted_.emplace(vtep, tunnel);
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
  if (free_.empty()) return {};
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

Result<void> TunnelImage::update() {
  if (!known_) return resync();
  known_ = false;
  std::set<std::uint32_t> left;
  for (auto at = slots_.begin(); at != slots_.end();) {
    if (wanted_.contains(at->first)) {
      ++at;
      continue;
    }
    TRY_VOID(leave(at->first));
    write(at->second, {});
    left.insert(at->second);
    at = slots_.erase(at);
  }
  for (const auto& [vtep, tunnel] : wanted_) {
    if (const auto there = slots_.find(vtep); there != slots_.end()) {
      write(there->second, tunnel);
    } else {
      TRY_VOID(add(vtep, tunnel));
    }
  }
  free_.merge(left);
  known_ = true;
  return {};
}

Result<void> TunnelImage::resync() {
  TRY_VOID(read());
  known_ = true;
  return update();
}

}  // namespace ocicat::dataplane::ebpf
