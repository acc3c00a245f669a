// What stands behind a service, for rules that name one.
#include <algorithm>
#include <utility>

#include "resources/decoders.h"
#include "resources/fields.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

constexpr std::string_view kServiceName = "kubernetes.io/service-name";

// One that does not say whether it is ready is.
Result<void> read_readiness(const json::object& endpoint, EndpointSlice& slice) {
  TRY(const auto* conditions, fields::object_at(endpoint, "conditions"));
  bool ready = true;
  if (conditions != nullptr && fields::find(*conditions, "ready") != nullptr) {
    TRY(ready, fields::bool_at(*conditions, "ready"));
  }
  TRY(const auto node, fields::string_at(endpoint, "nodeName"));
  if (ready && !node.empty()) slice.ready_on.emplace_back(node);
  return {};
}

// Whether an endpoint is ready plays no part in policy: a packet to one that is not must be judged as well.
Result<void> read_endpoints(const json::object& document, EndpointSlice& slice) {
  TRY(const auto endpoints, fields::objects_at(document, "endpoints"));
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    const auto texts = fields::strings_at(*endpoints[i], "addresses");
    if (!texts) return fields::inside("endpoints", i, texts.error());
    for (const auto& text : *texts) {
      if (const auto address = IpAddress::parse(text)) slice.addresses.push_back(*address);
    }
    if (const auto read = read_readiness(*endpoints[i], slice); !read)
      return fields::inside("endpoints", i, read.error());
  }
  std::ranges::sort(slice.ready_on);
  slice.ready_on.erase(std::ranges::unique(slice.ready_on).begin(), slice.ready_on.end());
  std::ranges::sort(slice.addresses);
  slice.addresses.erase(std::ranges::unique(slice.addresses).begin(), slice.addresses.end());
  return {};
}

// One without a number is about no port in particular, and so no member; TCP unless it says otherwise.
Result<void> read_ports(const json::object& document, EndpointSlice& slice) {
  TRY(const auto ports, fields::objects_at(document, "ports"));
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const auto number = fields::integer_at(*ports[i], "port", 0, 65535);
    if (!number) return fields::inside("ports", i, number.error());
    const auto protocol = fields::string_at(*ports[i], "protocol");
    if (!protocol) return fields::inside("ports", i, protocol.error());
    if (!*number) continue;
    slice.ports.push_back({.protocol = *protocol == "UDP"    ? kUdp
                                       : *protocol == "SCTP" ? kSctp
                                                             : kTcp,
                           .number = static_cast<std::uint16_t>(**number)});
  }
  std::ranges::sort(slice.ports);
  slice.ports.erase(std::ranges::unique(slice.ports).begin(), slice.ports.end());
  return {};
}

}  // namespace

Result<EndpointSlice> endpoint_slice(const json::object& document) {
  EndpointSlice slice;
  TRY(slice.metadata, read_identity(Kind::kEndpointSlice, document));
  const auto labels = fields::labels_at(*fields::find(document, "metadata")->if_object(), "labels");
  if (!labels) return fields::inside("metadata", labels.error());
  if (const auto service = labels->find(std::string(kServiceName)); service != labels->end()) {
    slice.service = service->second;
  }
  TRY_VOID(read_endpoints(document, slice));
  TRY_VOID(read_ports(document, slice));
  return slice;
}

}  // namespace ocicat::decoding
