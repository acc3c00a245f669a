// Addresses and who has them: pools, blocks, and what a look at all of it found.
#pragma once

#include <boost/json/object.hpp>

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time_text.h"
#include "network/garbage.h"
#include "network/pool_usage.h"

namespace ocicat::views {

// Pools, and a sentence for each that runs out.
std::string pools_text(const network::Usage& usage);
std::string blocks_text(const network::Usage& usage, TimePoint now);
// {"pools":[{"name","cidr","size","used","cooling","reserved","free","blocks","blocksAtMost","disabled",
//   "runningOut","forecast":{"givenLastHour","fullInHours"}}],
//  "blocks":[{"cidr","pool","owner","claimed","used","cooling","reserved","free"}]}
// Sizes beyond 2^53 are strings.
boost::json::object usage_json(const network::Usage& usage);

// Who has one address.
struct AddressView {
  IpAddress address;
  std::string pool;
  std::optional<Prefix> block;
  std::optional<BlockOwner> owner;
  // "free", "assigned", "cooling", "not in a block", "in a block that cannot be read", "in no pool"
  std::string state;
  bool reserved = false;
  std::string handle;
  std::int64_t sequence = 0;
  Labels attributes;
  std::optional<TimePoint> released_at;
};
AddressView address_view(const network::Inventory& inventory, const IpAddress& address);
std::string to_text(const AddressView& view);
boost::json::object to_json(const AddressView& view);

// A report of what was found: for people, and to be read again as what was seen before.
struct GarbageReport {
  TimePoint at;
  std::vector<network::Finding> findings;
};
std::string to_text(const GarbageReport& report);
// {"at","findings":[{"fault","verdict","subject","reason","since","address","sequence","handle","block",
//   "owner"}]}
boost::json::object to_json(const GarbageReport& report);
// Of such a document: when each finding was first seen. kInvalid: it is none.
Result<network::Sightings> sightings_of(const boost::json::object& report);

}  // namespace ocicat::views
