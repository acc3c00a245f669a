// What annotations of a pod, its namespace and the configuration ask for, settled into one.
//
//   source   docs/spec: semantics.md 5 (annotations: pod over namespace over configuration)
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "cni/configuration.h"
#include "cni/failure.h"
#include "network/pool_choice.h"
#include "resources/types.h"

namespace ocicat::cni {

struct Wishes {
  bool ipv4 = true;  // one address of each, whichever is free
  bool ipv6 = false;
  network::PoolNames pools;          // of a family none: those that select
  std::vector<IpAddress> addresses;  // these besides, at most one a family
  bool without_ipam = false;         // `addresses` are nobody's to give, and there are no others
  bool by_plugin = false;         // another plugin gives them; `addresses` are those, where it has been asked
  std::optional<MacAddress> mac;  // of the interface in the container
  std::vector<IpAddress> floating;           // under which it is reached besides; of families that has() says
  std::vector<std::string> source_prefixes;  // allowedSourcePrefixes, as the endpoint document has them
  std::map<std::string, std::int64_t> qos;   // likewise

  bool has(Family family) const;  // an address of it will be there
};

// What annotations name is all there will be; of a family that the runtime names no address of there will be
// one as configured. Codes: 2 and 7, naming the annotation and whose it is.
Outcome<Wishes> settle(const Configuration& configuration, const Labels& pod_annotations,
                       const Labels& namespace_annotations);
// Of addresses alone.
Outcome<Wishes> settle_addresses(const Configuration& configuration, const Labels& pod_annotations,
                                 const Labels& namespace_annotations);

}  // namespace ocicat::cni
