// Settings that somebody has made and that change nothing, with the datapath in use or with any, or less than they say.
#pragma once

#include <boost/json/fwd.hpp>

#include <compare>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace ocicat::views {

struct IdleSetting {
  std::string object;     // "FelixConfiguration default"
  std::string field;      // "bpfEnabled", or "bpfConntrackTimeouts.creationGracePeriod"
  std::string dataplane;  // it is so with this one; empty: with any
  std::string only;       // what comes of it all the same; empty: nothing

  auto operator<=>(const IdleSetting&) const = default;
};

// The datapaths that hosts use ("nftables", "ebpf").
struct DatapathsInUse {
  std::set<std::string> any;
  std::set<std::string> with_host_endpoints;  // of those, by hosts that have host endpoints
};

// Of these FelixConfigurations, as documents. Sorted.
std::vector<IdleSetting> idle_settings(std::span<const boost::json::object> configurations,
                                       const DatapathsInUse& datapaths);

// A line for each object and what is true of it: "FelixConfiguration default: bpfEnabled, genericXDPEnabled: no
// effect".
std::vector<std::string> in_words(const std::vector<IdleSetting>& settings);

}  // namespace ocicat::views
