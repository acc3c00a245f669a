// Ways: where packets for workloads go.
//
//   in       hosts, pools, blocks of addresses; for one address, the endpoints that have it
//   out      for a block: the host that has it, or the tunnel that leads there; a block of our own leads
//            nowhere, so that what no workload has is not sent round in circles. For one address: the
//            interface of a local endpoint; where it is elsewhere than its block, or in no block, its host
//   errors   none: what is of a host that is not known, or has no address of the family, has no way; but where
//            its pool wants a tunnel, it leads there, without an end until one is known
//
// Who has an address: a local endpoint, whatever anybody else says, as what others say may be old; then whom
// the block gave it to; then the endpoint that has it; then the owner of the block.
//   source   semantics.md 4.2, 4.3
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "network/block_map.h"
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
  enum class Kind : std::uint8_t { kInterface, kHost, kVxlan, kIpip, kNowhere };
  Kind kind = Kind::kInterface;
  std::string interface_name;  // kInterface
  // kHost, kIpip: the host's address; kVxlan: its VTEP's. Of tunnels nothing while that is not known.
  std::optional<IpAddress> next_hop;

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
  BlockMap::Changed set_block(const AddressBlock& block) { return blocks_.set(block); }
  BlockMap::Changed remove_block(const std::string& name) { return blocks_.remove(name); }

  // Of a block, or of one address and the endpoints that have it: of several a local one wins, else the
  // first. Nothing: there is no way, or that of the block around it is the one. O(pools).
  std::optional<Way> way(const Prefix& prefix, const std::vector<Claim>& claims) const;
  const BlockMap& blocks() const { return blocks_; }
  // The other host at an address.
  std::optional<Peer> peer(const IpAddress& address) const { return hosts_.peer(address, own_); }
  // Whether it is the address of a host, this one or another.
  bool is_host(const IpAddress& address) const { return hosts_.has(address); }
  std::size_t host_count() const { return hosts_.size(); }
  const Host* own() const { return own_ ? hosts_.find(*own_) : nullptr; }

 private:
  bool is_own(std::string_view name) const { return own_ && *own_ == name; }
  std::string_view host_of(const Prefix& prefix, const std::vector<Claim>& claims) const;
  std::optional<Way> way_to(std::string_view node, const IpAddress& address) const;
  // Whether it is the host's end of a tunnel that no pool travels in: its Node keeps the address, no interface has it.
  bool is_idle_end(std::string_view node, const IpAddress& address) const;
  const IpPool* pool_of(const IpAddress& address) const;
  // Whether packets for a host at that address are; one that is not known may be in another subnet.
  bool tunnelled(IpPool::Encapsulation mode, Family family, const std::optional<IpAddress>& host) const;

  std::optional<std::string> own_;
  Hosts hosts_;
  BlockMap blocks_;
  std::map<std::string, IpPool> pools_;  // by name
};

}  // namespace ocicat::network
