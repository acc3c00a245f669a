// Who is reached under which floating address: of all endpoints that ask for one, wherever they are, the first
// by key. So all hosts give the same answer.
//
//   in       endpoints, and what they ask for
//   out      for an address, who has it
//   errors   none: an address that nobody may be reached under (may_float()) is nobody's
//   source   semantics.md 4.1; annotation cni.projectcalico.org/floatingIPs, WorkloadEndpoint's spec.ipNATs
#pragma once

#include <map>
#include <set>
#include <vector>

#include "base/ip.h"
#include "resources/kinds.h"
#include "resources/types.h"

namespace ocicat::network {

// Whether packets to it can be led anywhere else: not within the host or the link, and not to many.
bool may_float(const IpAddress& address);

class FloatingAddresses {
 public:
  // Everything that the endpoint asks for; of one address asked for twice, the first counts. O(log n) each.
  void set(const ResourceKey& endpoint, const std::vector<FloatingAddress>& asked);
  void remove(const ResourceKey& endpoint) { set(endpoint, {}); }

  // Nothing: nobody asks for it.
  const ResourceKey* first(const IpAddress& address) const;
  // Where it leads to, of an endpoint that asks for it.
  const IpAddress& own(const ResourceKey& endpoint, const IpAddress& address) const;
  const std::set<ResourceKey>& claimants(const IpAddress& address) const;
  // What an endpoint asks for: each to an address of its own.
  const std::map<IpAddress, IpAddress>& asked_by(const ResourceKey& endpoint) const;

  // Anything may be otherwise for those who ask.
  void touch(const ResourceKey& endpoint);
  void touch(const IpAddress& address);  // nothing, where nobody asks for it
  void touch_all();
  // Addresses of which something may be otherwise since the last call.
  std::set<IpAddress> take_touched() { return std::exchange(touched_, {}); }
  // Endpoints that ask for something else than before the last call, or for nothing any more.
  std::set<ResourceKey> take_changed() { return std::exchange(changed_, {}); }
  bool empty() const { return claims_.empty(); }

 private:
  std::map<ResourceKey, std::map<IpAddress, IpAddress>> asked_;
  std::map<IpAddress, std::set<ResourceKey>> claims_;
  std::set<IpAddress> touched_;
  std::set<ResourceKey> changed_;
};

}  // namespace ocicat::network
