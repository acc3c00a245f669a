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
  std::string field;      // "bpfEnabled"
  std::string dataplane;  // it has no effect with this one; empty: with none
  std::string only;       // what comes of it all the same; empty: nothing

  auto operator<=>(const IdleSetting&) const = default;
};

// Of these FelixConfigurations, as documents, with the datapaths that hosts use ("nftables", "ebpf"). Sorted.
std::vector<IdleSetting> idle_settings(std::span<const boost::json::object> configurations,
                                       const std::set<std::string>& dataplanes);

// A line for each object and what is true of it: "FelixConfiguration default: bpfEnabled, genericXDPEnabled: no
// effect".
std::vector<std::string> in_words(const std::vector<IdleSetting>& settings);

}  // namespace ocicat::views
