#include "kernel/host_addresses.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/unique_fd.h"

namespace ocicat::kernel {
namespace {

// Names that begin so are not a host's ways to others.
constexpr std::array<std::string_view, 13> kOthers{"docker",  "cbr",  "dummy",    "virbr", "lxcbr",
                                                   "veth",    "cali", "tunl",     "cni",   "vxlan",
                                                   "flannel", "ipvs", "kube-ipvs"};

std::optional<IpAddress> address_in(const sockaddr* socket_address, Family family) {
  if (socket_address == nullptr) return std::nullopt;
  if (family == Family::kIpv4 && socket_address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, socket_address, sizeof in);
    return IpAddress::v4(ntohl(in.sin_addr.s_addr));
  }
  if (family == Family::kIpv6 && socket_address->sa_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, socket_address, sizeof in);
    IpAddress::Bytes bytes{};
    std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
    return IpAddress::v6(bytes);
  }
  return std::nullopt;
}

bool is_usable(const IpAddress& address) {
  static const auto link_local4 = *Prefix::parse("169.254.0.0/16"), link_local6 = *Prefix::parse("fe80::/10");
  static const auto loopback4 = *Prefix::parse("127.0.0.0/8"), loopback6 = *Prefix::parse("::1/128");
  return !link_local4.contains(address) && !link_local6.contains(address) && !loopback4.contains(address) &&
         !loopback6.contains(address);
}

std::uint8_t length_of(const IpAddress& mask) {
  int length = 0;
  const auto bits = bits_of(mask.family());
  while (length < bits && mask.bit(length)) ++length;
  return static_cast<std::uint8_t>(length);
}

bool is_way_out(std::string_view name, unsigned flags) {
  return (flags & IFF_UP) != 0 && (flags & IFF_LOOPBACK) == 0 &&
         std::ranges::none_of(kOthers, [&](const auto& prefix) { return name.starts_with(prefix); });
}

// Which of its addresses the kernel would send from by its default route. Connecting a datagram socket sends
// nothing; the destination is one of documentation (RFC 5737, RFC 3849).
std::optional<IpAddress> source_by_default_route(Family family) {
  const bool v4 = family == Family::kIpv4;
  const UniqueFd socket(::socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return std::nullopt;
  sockaddr_storage storage{};
  socklen_t length = v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (v4) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9);
    to.sin_addr.s_addr = htonl(0xc0000201);  // 192.0.2.1
    std::memcpy(&storage, &to, sizeof to);
  } else {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(9);
    const auto bytes = IpAddress::parse("2001:db8::1")->bytes();
    std::memcpy(&to.sin6_addr, bytes.data(), bytes.size());
    std::memcpy(&storage, &to, sizeof to);
  }
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) return std::nullopt;
  length = sizeof storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &length) != 0) return std::nullopt;
  return address_in(reinterpret_cast<const sockaddr*>(&storage), family);
}

}  // namespace

std::optional<Prefix> main_address(Family family) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return std::nullopt;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owned(list, &::freeifaddrs);
  const auto preferred = source_by_default_route(family);
  std::optional<Prefix> first;
  for (const auto* entry = list; entry != nullptr; entry = entry->ifa_next) {
    const auto address = address_in(entry->ifa_addr, family);
    const auto mask = address_in(entry->ifa_netmask, family);
    if (!address || !mask || !is_usable(*address)) continue;
    const Prefix found{*address, length_of(*mask)};
    if (address == preferred) return found;
    if (!first && is_way_out(entry->ifa_name, entry->ifa_flags)) first = found;
  }
  return first;
}

std::set<IpAddress> own_addresses() {
  std::set<IpAddress> own;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return own;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owned(list, &::freeifaddrs);
  for (const auto* entry = list; entry != nullptr; entry = entry->ifa_next) {
    for (const auto family : kFamilies) {
      if (const auto address = address_in(entry->ifa_addr, family)) own.insert(*address);
    }
  }
  return own;
}

}  // namespace ocicat::kernel
