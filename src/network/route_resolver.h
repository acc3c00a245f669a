// Ways: where packets for an address of a workload go.
//
//   in       nodes; for one address, the endpoint that has it
//   out      the interface of a local endpoint, or the node of a remote one
//   errors   none: an endpoint whose node is not known, or has no address of the family, has no way
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "resources/types.h"

namespace ocicat::network {

// An endpoint that has an address. Borrowed.
struct Claim {
  bool local = false;
  std::string_view interface_name;  // of a local one
  std::string_view node;            // of a remote one
};

// Exactly one of the two is set.
struct Way {
  std::string interface_name;
  std::optional<IpAddress> next_hop;

  bool operator==(const Way&) const = default;
};

class RouteResolver {
 public:
  // Whether ways by this node may be others now.
  bool set_node(const Node& node);
  bool remove_node(const std::string& name);

  // Of several claims to one address a local one wins, else the first.
  std::optional<Way> way(const IpAddress& address, const std::vector<Claim>& claims) const;

 private:
  struct Addresses {
    std::optional<IpAddress> ipv4;
    std::optional<IpAddress> ipv6;
    bool operator==(const Addresses&) const = default;
  };

  std::map<std::string, Addresses, std::less<>> addresses_by_node_;
};

}  // namespace ocicat::network
