// The hosts of the cluster: their addresses, and where the ends of their tunnels are.
//
//   in       nodes
//   out      for an address, the host that has it
//   errors   none: a host that is not known, or has no address of a family, is simply not there
#pragma once

#include <boost/container/flat_set.hpp>
#include <boost/unordered/unordered_flat_map.hpp>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "base/text_map.h"
#include "resources/types.h"

namespace ocicat::network {

// The end of a VXLAN tunnel at a host, one for each family of what it carries (semantics.md 4.3).
struct Vtep {
  IpAddress address;
  MacAddress mac;

  bool operator==(const Vtep&) const = default;
};

// Another host, known by an address of one family.
struct Peer {
  std::optional<Vtep> vtep;  // nothing: it has none of this family, or none yet

  bool operator==(const Peer&) const = default;
};

struct Host {
  std::array<std::optional<Prefix>, 2> addresses;  // by family (0: IPv4), with the length of its subnet
  std::array<std::optional<Vtep>, 2> vteps;
  std::optional<IpAddress> ipip;  // of its interface of IPIP

  const std::optional<Prefix>& address(Family family) const {
    return addresses[family == Family::kIpv4 ? 0 : 1];
  }
  const std::optional<Vtep>& vtep(Family family) const { return vteps[family == Family::kIpv4 ? 0 : 1]; }
  bool operator==(const Host&) const = default;
};

// The address of a VTEP's interface, for which no Node says another: 66, and the first five bytes of SHA-1 of
// the node's name, of "NAME-v6" for IPv6.
MacAddress vtep_mac(std::string_view node, Family family);

class Hosts {
 public:
  struct Changed {
    bool host = false;             // whether anything about it is other than before
    std::vector<IpAddress> peers;  // addresses whose peer may be another now
  };
  Changed set(const Node& node);
  Changed remove(const std::string& name);

  // Valid until the next change.
  const Host* find(std::string_view name) const;
  std::size_t size() const { return hosts_.size(); }
  // Whether it is the address of a host.
  bool has(const IpAddress& address) const { return names_by_address_.contains(address); }
  // The host at an address: of several that claim it the first by name. Nothing where that is `own`.
  std::optional<Peer> peer(const IpAddress& address, const std::optional<std::string>& own) const;

 private:
  void claim(const std::string& name, const Host& host, std::vector<IpAddress>& touched);
  void leave(const std::string& name, const Host& host, std::vector<IpAddress>& touched);

  struct Known {
    Host host;
    // As vtep_mac() has them, once it was asked: they follow from the name, and take long.
    std::array<std::optional<MacAddress>, 2> macs{};
  };
  static std::optional<Vtep> vtep_of(const Node& node, Family family, Known& known);

  TextMap<Known> hosts_;
  // Ascending: mostly one.
  boost::unordered_flat_map<IpAddress, boost::container::flat_set<std::string>> names_by_address_;
};

}  // namespace ocicat::network
