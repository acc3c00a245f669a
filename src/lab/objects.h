// The documents that stand for a lab's hosts and pods.
#pragma once

#include <boost/json/object.hpp>

#include <string_view>
#include <vector>

#include "lab/state.h"
#include "resources/kinds.h"

namespace ocicat::lab {

// The n-th host, from 1, of a lab.
boost::json::object node_object(std::string_view host, int number, const LabRecord& lab);
// Whether a Node says where the tunnels of the lab's network end at its host, which its agent sees to.
bool says_its_tunnels(const boost::json::object& node, const LabRecord& lab);
// A pool for each family, encapsulated as the lab's network says.
std::vector<boost::json::object> pool_objects(const LabRecord& lab);
bool is_pod_address(const IpAddress& address);  // in one of them
// Around an address that is in neither, a pool that gives what it is asked for and nothing else.
boost::json::object pool_around(const IpAddress& address, const LabRecord& lab);
// With kubernetes.io/metadata.name, as an API server adds it.
boost::json::object namespace_object(std::string_view ns, const Labels& labels);
boost::json::object service_account_object(std::string_view ns, std::string_view name);
Labels labels_of(const boost::json::object& document);
ResourceKey endpoint_key(const PodRecord& pod);

}  // namespace ocicat::lab
