#include "api/server/rules.h"

#include <algorithm>
#include <array>

#include "api/server/stored_text.h"
#include "base/ip.h"
#include "network/ipam_block.h"
#include "resources/decode.h"
#include "resources/ipam.h"
#include "resources/validate.h"

namespace ocicat::api {

namespace json = boost::json;

namespace {

constexpr std::array kBuiltInTiers{
    BuiltInTier{"kube-admin", 1'000, "Pass"},
    BuiltInTier{"default", 1'000'000, "Deny"},
    BuiltInTier{"kube-baseline", 10'000'000, "Pass"},
};
constexpr std::array kTieredKinds{Kind::kNetworkPolicy, Kind::kGlobalNetworkPolicy,
                                  Kind::kStagedNetworkPolicy, Kind::kStagedGlobalNetworkPolicy};
constexpr std::string_view kDefaultAllow = "projectcalico-default-allow";

bool is_tiered(Kind kind) {
  return std::ranges::find(kTieredKinds, kind) != kTieredKinds.end();
}

std::string tier_of(const json::object& policy) {
  const auto tier = child_text(child_object(policy, "spec"), "tier");
  return tier.empty() ? "default" : std::string(tier);
}

std::optional<Failure> tier_exists(const store::View& view, const ResourceKey& key,
                                   const json::object& policy) {
  const auto tier = tier_of(policy);
  if (view.get({Kind::kTier, "", tier})) return std::nullopt;
  return invalid(key, {Cause{"spec.tier", fmt::format("\"{}\": no such tier; create it first", tier)}});
}

std::optional<Failure> tier_is_empty(const store::View& view, const ResourceKey& tier) {
  std::optional<ResourceKey> inside;
  for (const Kind kind : kTieredKinds) {
    view.each(kind, std::nullopt, [&](const store::Entry& entry) {
      // Most policies do not even contain the word; only for the others is it worth looking where.
      const bool may_be = tier.name == "default" || entry.document->find(tier.name) != std::string::npos;
      if (may_be && tier_of(from_stored_text(*entry.document)) == tier.name) inside = entry.key;
      return !inside;
    });
    if (inside)
      return forbidden(tier, fmt::format("the tier has policies in it, such as {}; delete them first",
                                         inside->to_string()));
  }
  return std::nullopt;
}

std::optional<Prefix> cidr_of(const json::object& pool) {
  const auto prefix = Prefix::parse(child_text(child_object(pool, "spec"), "cidr"), true);
  return prefix ? std::optional(prefix->masked()) : std::nullopt;
}

std::optional<Failure> pool_overlaps_none(const store::View& view, const ResourceKey& key,
                                          const json::object& pool) {
  const auto cidr = cidr_of(pool);
  if (!cidr) return invalid(key, {Cause{"spec.cidr", "must be a CIDR"}});
  std::optional<Failure> failure;
  view.each(Kind::kIpPool, std::nullopt, [&](const store::Entry& entry) {
    const auto other = cidr_of(from_stored_text(*entry.document));
    if (entry.key != key && other && (cidr->contains(*other) || other->contains(*cidr))) {
      failure =
          invalid(key, {Cause{"spec.cidr", fmt::format("\"{}\": overlaps {} of IPPool {}", cidr->to_string(),
                                                       other->to_string(), entry.key.name)}});
    }
    return !failure;
  });
  return failure;
}

// Blocks of another size than the pool's would make two blocks of one address.
std::optional<Failure> blocks_fit_pool(const store::View& view, const ResourceKey& key,
                                       const json::object& object) {
  const auto pool = decode(Kind::kIpPool, object);
  if (!pool) return invalid(key, {Cause{"spec", pool.error().message}});
  const Prefix cidr = std::get<IpPool>(*pool).cidr;
  const int block_size = std::get<IpPool>(*pool).block_size;
  std::optional<Failure> failure;
  view.each(Kind::kIpamBlock, std::nullopt, [&](const store::Entry& entry) {
    const auto block = cidr_of(from_stored_text(*entry.document));
    if (block && block->length != block_size && (cidr.contains(*block) || block->contains(cidr))) {
      failure = invalid(
          key, {Cause{"spec.blockSize", fmt::format("{}: block {} of another size has addresses in use there",
                                                    block_size, block->to_string())}});
    }
    return !failure;
  });
  return failure;
}

// How a workload that has an address is called; empty: nobody has it, or a host, which gets another.
std::string workload_of(const IpamBlock::Attribute& attribute) {
  const auto text = [&](std::string_view name) {
    const auto it = attribute.secondary.find(std::string(name));
    return it == attribute.secondary.end() ? std::string() : it->second;
  };
  const auto type = text("type");
  if (attribute.released_at || type.ends_with("TunnelAddress") || type == network::kGatewayType) return {};
  const auto pod = text("pod");
  return pod.empty() ? attribute.handle.value_or("nobody that is known") : text("namespace") + "/" + pod;
}

// Without its pool a workload's address loses its tunnel and natOutgoing.
std::optional<Failure> pool_is_unused(const store::View& view, const ResourceKey& key) {
  const auto stored = view.get(key);
  const auto pool = stored ? from_stored_text(*stored->document) : json::object{};
  const auto cidr = cidr_of(pool);
  if (!cidr) return std::nullopt;
  std::size_t used = 0;
  std::string example;
  view.each(Kind::kIpamBlock, std::nullopt, [&](const store::Entry& entry) {
    const auto document = from_stored_text(*entry.document);
    const auto at = cidr_of(document);
    if (!at || !cidr->contains(*at)) return true;
    const auto block = decode_block(document);
    if (!block) return true;
    for (IpamBlock::Ordinal ordinal = 0; ordinal < block->value.size(); ++ordinal) {
      const auto attribute = block->value.allocations[ordinal];
      if (!attribute || *attribute >= block->value.attributes.size()) continue;
      const auto who = workload_of(block->value.attributes[*attribute]);
      if (who.empty()) continue;
      if (used++ == 0) example = fmt::format("{} ({})", address_at(*at, ordinal).to_string(), who);
    }
    return true;
  });
  if (used == 0) return std::nullopt;
  const auto* disabled = child_object(pool, "spec").if_contains("disabled");
  const bool is_disabled = disabled != nullptr && disabled->is_bool() && disabled->get_bool();
  return forbidden(
      key,
      fmt::format("{} of its addresses {} in use, such as {}; {}end what has them first, or delete the pool "
                  "with propagationPolicy Orphan (--cascade=orphan), and they stay whose they are",
                  used, used == 1 ? "is" : "are", example,
                  is_disabled ? "" : "set spec.disabled, so that nobody is given another, "));
}

// Two documents about one block, or blocks that overlap, would make two owners of one address.
std::optional<Failure> is_block_of_its_pool(const store::View& view, const ResourceKey& key,
                                            const json::object& object) {
  const auto cidr = cidr_of(object);
  if (!cidr) return std::nullopt;  // what it is about is not to be read
  std::optional<Failure> failure;
  view.each(Kind::kIpPool, std::nullopt, [&](const store::Entry& entry) {
    const auto decoded = decode(Kind::kIpPool, from_stored_text(*entry.document));
    if (!decoded) return true;
    const auto& pool = std::get<IpPool>(*decoded);
    const bool overlaps = pool.cidr.contains(*cidr) || cidr->contains(pool.cidr);
    if (overlaps && !network::is_block_of(pool, *cidr)) {
      failure =
          invalid(key, {Cause{"spec.cidr", fmt::format("\"{}\": is no block of IPPool {}, whose blocks are "
                                                       "parts of {} of /{} each",
                                                       cidr->to_string(), entry.key.name,
                                                       pool.cidr.to_string(), pool.block_size)}});
    }
    return !failure;
  });
  return failure;
}

// The documents of address management are called after what they are about.
std::optional<Failure> has_name_of_block(const ResourceKey& key, const json::object& object) {
  const auto& spec = child_object(object, "spec");
  const auto cidr = Prefix::parse(child_text(spec, "cidr"), true);
  if (!cidr) return invalid(key, {Cause{"spec.cidr", "must be a CIDR"}});
  if (*cidr != cidr->masked()) {
    return invalid(
        key,
        {Cause{"spec.cidr", fmt::format("\"{}\": must be \"{}\", a block has all addresses that begin alike",
                                        cidr->to_string(), cidr->masked().to_string())}});
  }
  const auto owner =
      child_text(spec, "type") == "virtual" ? BlockOwner::Type::kVirtual : BlockOwner::Type::kHost;
  const auto wanted = key.kind == Kind::kIpamBlock
                          ? block_key(*cidr)
                          : affinity_key({owner, std::string(child_text(spec, "node"))}, *cidr);
  if (wanted.name == key.name) return std::nullopt;
  return invalid(key, {Cause{"metadata.name", fmt::format("\"{}\": must be \"{}\", made of what it is about",
                                                          key.name, wanted.name)}});
}

std::optional<Failure> has_computed_name(const ResourceKey& key, const json::object& endpoint) {
  const auto& spec = child_object(endpoint, "spec");
  const auto orchestrator = child_text(spec, "orchestrator");
  const auto workload = orchestrator == "k8s"          ? child_text(spec, "pod")
                        : orchestrator == "cni"        ? child_text(spec, "containerID")
                        : orchestrator == "libnetwork" ? std::string_view("libnetwork")
                                                       : child_text(spec, "workload");
  const auto name =
      workload_endpoint_name(child_text(spec, "node"), orchestrator, workload, child_text(spec, "endpoint"));
  if (key.name == name) return std::nullopt;
  return invalid(
      key, {Cause{"metadata.name",
                  fmt::format("\"{}\": must be \"{}\", made of node, orchestrator, workload and endpoint",
                              key.name, name)}});
}

// Later nothing keeps a filter that a peer names from being deleted.
std::optional<Failure> filters_exist(const store::View& view, const ResourceKey& key,
                                     const json::object& peer) {
  const auto* filters = child_object(peer, "spec").if_contains("filters");
  if (filters == nullptr || !filters->is_array()) return std::nullopt;
  std::vector<Cause> causes;
  for (std::size_t i = 0; i < filters->get_array().size(); ++i) {
    const auto* name = filters->get_array()[i].if_string();
    if (name == nullptr || view.get({Kind::kBgpFilter, "", std::string(*name)})) continue;
    causes.push_back({fmt::format("spec.filters[{}]", i),
                      fmt::format("\"{}\": no such BGPFilter; create it first", std::string_view(*name))});
  }
  if (causes.empty()) return std::nullopt;
  return invalid(key, std::move(causes));
}

std::optional<Failure> profile_is_writable(const ResourceKey& key) {
  if (key.kind != Kind::kProfile || key.name != kDefaultAllow) return std::nullopt;
  return forbidden(key, "this profile is built in: it allows everything and cannot be written");
}

}  // namespace

std::span<const BuiltInTier> built_in_tiers() {
  return kBuiltInTiers;
}

json::object built_in_tier(const BuiltInTier& tier) {
  return {{"apiVersion", "projectcalico.org/v3"},
          {"kind", "Tier"},
          {"metadata", json::object{{"name", tier.name}}},
          {"spec", json::object{{"order", static_cast<std::int64_t>(tier.order)},
                                {"defaultAction", tier.default_action}}}};
}

void complete(Kind kind, json::object& object) {
  auto& metadata = object["metadata"].get_object();
  const auto label = [&](std::string_view name, std::string_view value) {
    auto& labels = metadata["labels"];
    if (!labels.is_object()) labels.emplace_object();
    labels.get_object()[name] = value;
  };
  if (is_tiered(kind)) label("projectcalico.org/tier", tier_of(object));
  if (kind == Kind::kWorkloadEndpoint) {
    label("projectcalico.org/namespace", std::string(child_text(metadata, "namespace")));
    label("projectcalico.org/orchestrator", child_text(child_object(object, "spec"), "orchestrator"));
  }
}

std::optional<Failure> may_create(const store::View& view, const ResourceKey& key,
                                  const json::object& object) {
  if (is_tiered(key.kind)) return tier_exists(view, key, object);
  if (key.kind == Kind::kIpPool) {
    if (auto failure = pool_overlaps_none(view, key, object)) return failure;
    return blocks_fit_pool(view, key, object);
  }
  if (key.kind == Kind::kIpamBlock) {
    if (auto failure = has_name_of_block(key, object)) return failure;
    return is_block_of_its_pool(view, key, object);
  }
  if (key.kind == Kind::kBlockAffinity) return has_name_of_block(key, object);
  if (key.kind == Kind::kWorkloadEndpoint) return has_computed_name(key, object);
  if (key.kind == Kind::kBgpPeer) return filters_exist(view, key, object);
  return profile_is_writable(key);
}

std::optional<Failure> may_update(const store::View& view, const ResourceKey& key, const json::object& object,
                                  const json::object& stored) {
  if (const auto complaints = validate_change(key.kind, object, stored); !complaints.empty())
    return invalid(key, complaints);
  if (key.kind == Kind::kIpamBlock || key.kind == Kind::kBlockAffinity) return has_name_of_block(key, object);
  if (key.kind == Kind::kWorkloadEndpoint) return has_computed_name(key, object);
  if (key.kind == Kind::kBgpPeer) return filters_exist(view, key, object);
  return profile_is_writable(key);
}

std::optional<Failure> may_delete(const store::View& view, const ResourceKey& key, bool orphan) {
  if (key.kind == Kind::kIpPool) return orphan ? std::nullopt : pool_is_unused(view, key);
  if (key.kind == Kind::kTier) {
    if (std::ranges::find(kBuiltInTiers, key.name, &BuiltInTier::name) != kBuiltInTiers.end()) {
      return forbidden(key, "this tier is built in and cannot be deleted");
    }
    return tier_is_empty(view, key);
  }
  return profile_is_writable(key);
}

}  // namespace ocicat::api
