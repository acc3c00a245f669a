// What the API accepts: the schema of every field, the defaults and the rules across fields.
//
//   source   schema/api-v3.fields.txt (every field); docs/spec: validation.md 2 to 5 and 7
#pragma once

#include <boost/json/object.hpp>

#include <optional>
#include <vector>

#include "resources/document.h"
#include "resources/kinds.h"

namespace ocicat {

struct Validated {
  std::optional<ResourceKey> key;     // as far as it could be read
  boost::json::object json;           // defaults filled in; only meaningful without complaints
  std::vector<Complaint> complaints;  // all of them, not just the first
  std::vector<Complaint> warnings;    // about what is accepted and does nothing

  bool ok() const { return complaints.empty(); }
};

// Unknown kinds, unknown fields, wrong types, broken rules: each is a complaint. Defaults are applied to a
// copy. A field without effect that would make a reader think otherwise, such as `http` of a rule, is a
// warning. Pure; O(size of the document).
Validated validate(const Document& document);

// What may not change of an object that is there, as an IPPool's cidr and the size of its blocks. `object` as
// validate() has completed it, `old` as it is stored; both of this kind.
std::vector<Complaint> validate_change(Kind kind, const boost::json::object& object,
                                       const boost::json::object& old);

// Made by the system and not to be deleted: the tiers default, kube-admin and kube-baseline, and the profile
// projectcalico-default-allow.
bool is_built_in(const ResourceKey& key);

}  // namespace ocicat
