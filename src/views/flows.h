// Flows as JSON, in the field names of Calico's flow logs where it has them, and in lines for people.
#pragma once

#include <boost/json/object.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "flows/aggregator.h"
#include "flows/recorder.h"

namespace ocicat::views {

// {"time","host","reporter":"src"|"dst","action":"allow"|"deny","reason","protocol",
//  "traffic":"tcp/8080","source":{"type","namespace","name","nameAggregated","address","port","labels"},
//  "destination":{…},"bytes","policies":{"enforced":["0|default|np:shop/api|allow|2"],"pending":[…]},
//  "why":["tier default: NetworkPolicy shop/api, ingress[2], allows"],"selectedBy":[…]}. The last only at the
//  end
// of a tier: the policies of it that select the endpoint.
// The port of ICMP is left out, as is what a party does not have. `reporter` is whose end tells; of a refused
// packet, the end that refused it.
boost::json::object to_json(const flows::Sighting& sighting, std::string_view host);

// The same of many: no "time", "address" and source port, but "first", "last" and counts.
boost::json::object to_json(const flows::Aggregate& aggregate, std::string_view host);
// "flows" that began, "completed", "live"; "packetsIn", "packetsOut", "bytesIn", "bytesOut", as the reporter sees what
// connections have carried; "refused" and "refusedBytes".
void add_counts(boost::json::object& object, const flows::Counts& counts);

// One such object, on a line. Control characters are shown as '?'.
std::string flow_line(const boost::json::object& flow);
// Many aggregates, most packets first.
std::string flow_table(const std::vector<boost::json::object>& aggregates);

}  // namespace ocicat::views
