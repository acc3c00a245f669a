// What may be written, beyond what one document can tell by itself.
#pragma once

#include <boost/json/object.hpp>

#include <optional>
#include <span>

#include "api/server/failure.h"
#include "store/store.h"

namespace ocicat::api {

// The tiers that are always there, as Calico's clients make them.
struct BuiltInTier {
  std::string_view name;
  double order;
  std::string_view default_action;
};
std::span<const BuiltInTier> built_in_tiers();
boost::json::object built_in_tier(const BuiltInTier& tier);

// Fills what the server, not the writer, decides. Of a validated document.
void complete(Kind kind, boost::json::object& object);

// Nothing, or why not. `object` is validated and completed; `stored` is what it replaces.
std::optional<Failure> may_create(const store::View& view, const ResourceKey& key,
                                  const boost::json::object& object);
std::optional<Failure> may_update(const store::View& view, const ResourceKey& key,
                                  const boost::json::object& object, const boost::json::object& stored);
// `orphan`: what is left of it is the caller's care, as Kubernetes' propagationPolicy Orphan says.
std::optional<Failure> may_delete(const store::View& view, const ResourceKey& key, bool orphan);

}  // namespace ocicat::api
