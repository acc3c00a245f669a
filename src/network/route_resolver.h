// Ways: where packets for an address of a workload go.
//
//   in       hosts and pools; for one address, the endpoint that has it
//   out      the interface of a local endpoint, the host of a remote one, or the tunnel that leads there
//   errors   none: an endpoint whose host is not known, has no address of the family, or not yet the end of
//            the tunnel that its pool wants, has no way
//   source   semantics.md 4.2, 4.3
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "network/hosts.h"
#include "resources/types.h"

namespace ocicat::network {

// An endpoint that has an address. Borrowed.
struct Claim {
  bool local = false;
  std::string_view interface_name;  // of a local one
  std::string_view node;            // of a remote one
};

struct Way {
  enum class Kind : std::uint8_t { kInterface, kHost, kVxlan, kIpip };
  Kind kind = Kind::kInterface;
  std::string interface_name;         // kInterface
  std::optional<IpAddress> next_hop;  // kHost, kIpip: the host's address; kVxlan: its VTEP's

  bool operator==(const Way&) const = default;
};

class RouteResolver {
 public:
  // `own`: the host that routes; without one every host is another one.
  explicit RouteResolver(std::optional<std::string> own = {}) : own_(std::move(own)) {}

  struct Changed {
    bool all = false;              // any way may be another now
    bool node = false;             // ways by this node may be
    std::vector<IpAddress> peers;  // addresses whose peer() may be another
  };
  Changed set_node(const Node& node);
  Changed remove_node(const std::string& name);
  // Whether any way may be another now.
  bool set_pool(const IpPool& pool);
  bool remove_pool(const std::string& name);

  // Of several claims to one address a local one wins, else the first. O(pools).
  std::optional<Way> way(const IpAddress& address, const std::vector<Claim>& claims) const;
  // The other host at an address.
  std::optional<Peer> peer(const IpAddress& address) const { return hosts_.peer(address, own_); }
  const Host* own() const { return own_ ? hosts_.find(*own_) : nullptr; }

 private:
  bool is_own(std::string_view name) const { return own_ && *own_ == name; }
  const IpPool* pool_of(const IpAddress& address) const;
  bool tunnelled(IpPool::Encapsulation mode, const IpAddress& host) const;

  std::optional<std::string> own_;
  Hosts hosts_;
  std::map<std::string, IpPool> pools_;  // by name
};

}  // namespace ocicat::network
