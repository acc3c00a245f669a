#include "network/pool_split.h"

#include <bit>

#include "network/address_block.h"
#include "resources/decode.h"
#include "resources/schema_text.h"

namespace ocicat::network {
namespace {

constexpr int kMostParts = 1024;

}  // namespace

Result<std::vector<boost::json::object>> split_pool(const boost::json::object& document, int parts) {
  if (parts < 2 || parts > kMostParts || !std::has_single_bit(static_cast<unsigned>(parts)))
    return fail(ErrorCode::kInvalid, "{}: a pool is split into 2, 4, 8 … {} parts", parts, kMostParts);
  TRY(const auto decoded, decode(Kind::kIpPool, document));
  const auto& pool = std::get<IpPool>(decoded);
  const int length = pool.cidr.length + std::countr_zero(static_cast<unsigned>(parts));
  if (length > pool.block_size)
    return fail(ErrorCode::kInvalid, "IPPool {} ({}) in {} parts: each would be smaller than a block (/{})",
                pool.metadata.name, pool.cidr.to_string(), parts, pool.block_size);
  const auto last = fmt::format("{}-{}", pool.metadata.name, parts);
  if (const auto rule = schema::check_dns_subdomain(last); !rule.empty())
    return fail(ErrorCode::kInvalid, "IPPool {}: its parts could have no names: {} {}", pool.metadata.name,
                last, rule);
  IpPool part = pool;  // whose blocks are the parts
  part.block_size = length;
  std::vector<boost::json::object> made;
  for (int i = 0; i < parts; ++i) {
    auto& object = made.emplace_back(document);
    auto& metadata = object["metadata"].as_object();
    for (const auto* decided_by_server : {"uid", "resourceVersion", "creationTimestamp", "generation"})
      metadata.erase(decided_by_server);
    metadata["name"] = fmt::format("{}-{}", pool.metadata.name, i + 1);
    object.erase("status");
    object["spec"].as_object()["cidr"] = block_at(part, static_cast<Count>(i)).to_string();
  }
  return made;
}

}  // namespace ocicat::network
