// Where a service is reached from outside, for routers that tell others of it.
#include <algorithm>
#include <utility>

#include "resources/decoders.h"
#include "resources/fields.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

// What is no IP address, such as "None" of a headless service or a host name, is left out.
void add(std::string_view text, std::vector<IpAddress>& addresses) {
  const auto address = IpAddress::parse(text);
  if (address && std::ranges::find(addresses, *address) == addresses.end()) addresses.push_back(*address);
}

Result<void> read_cluster_addresses(const json::object& spec, Service& service) {
  TRY(const auto first, fields::string_at(spec, "clusterIP"));
  add(first, service.cluster_addresses);
  TRY(const auto all, fields::strings_at(spec, "clusterIPs"));
  for (const auto& text : all) add(text, service.cluster_addresses);
  return {};
}

Result<void> read_load_balancer(const json::object& document, Service& service) {
  TRY(const auto* status, fields::object_at(document, "status"));
  if (status == nullptr) return {};
  TRY(const auto* balancer, fields::object_at(*status, "loadBalancer"));
  if (balancer == nullptr) return {};
  TRY(const auto points, fields::objects_at(*balancer, "ingress"));
  for (const auto* point : points) {
    TRY(const auto text, fields::string_at(*point, "ip"));
    add(text, service.load_balancer_addresses);
  }
  return {};
}

}  // namespace

Result<Service> service(const json::object& document) {
  Service service;
  TRY(service.metadata, read_identity(Kind::kService, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return fields::wrong("spec", "must be there");
  const auto policy = fields::string_at(*spec, "externalTrafficPolicy");
  if (!policy) return fields::inside("spec", policy.error());
  service.local_only = *policy == "Local";
  if (auto read = read_cluster_addresses(*spec, service); !read) return fields::inside("spec", read.error());
  const auto external = fields::strings_at(*spec, "externalIPs");
  if (!external) return fields::inside("spec", external.error());
  for (const auto& text : *external) add(text, service.external_addresses);
  const auto type = fields::string_at(*spec, "type");
  if (!type) return fields::inside("spec", type.error());
  if (*type != "LoadBalancer") return service;
  if (auto read = read_load_balancer(document, service); !read) return fields::inside("status", read.error());
  return service;
}

}  // namespace ocicat::decoding
