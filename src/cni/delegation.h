// Addresses by another plugin: `ipam.type` names one of those that the runtime has beside this one.
//
// The plugin runs it, as CNI_PATH and the environment are the runtime's and the agent starts no program that a
// call names; the agent is told what it has given.
//
//   source   containernetworking/cni, SPEC.md 1.1.0, section 4; docs/spec: semantics.md 6 (usePodCidr)
#pragma once

#include <boost/json/object.hpp>

#include <array>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ocicat::cni {

// Empty: the agent gives addresses, from pools.
std::string address_plugin_in(const boost::json::object& config);

// The pod CIDRs of a node, IPv4 first; empty: there is none.
using PodNets = std::array<std::string, 2>;
// What stands in for them where nothing is given: host-local releases by the container's name.
inline const PodNets kAnyNets{"0.0.0.0/0", "::/0"};

// Of host-local: whether a subnet in it is `usePodCidr` or `usePodCidrIPv6`.
bool asks_for_pod_nets(const boost::json::object& config);
// The configuration with these nets in place of the words. kNotFound: there is none of a family that it asks for.
Result<boost::json::object> with_pod_nets(boost::json::object config, const PodNets& nets);

}  // namespace ocicat::cni
