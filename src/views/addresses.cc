#include "views/addresses.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>

#include "network/ipam_block.h"
#include "network/pool_choice.h"
#include "views/json_read.h"
#include "views/text_table.h"

namespace ocicat::views {
namespace {

namespace json = boost::json;
using network::Count;

std::string digits(Count count) {
  std::string text;
  do {
    text.insert(text.begin(), static_cast<char>('0' + static_cast<int>(count % 10)));
    count /= 10;
  } while (count > 0);
  return text;
}

// A vast number as a person reads it: "2^58".
std::string count_text(Count count) {
  constexpr Count kReadable = 1'000'000'000;
  if (count < kReadable) return digits(count);
  int bits = 0;
  for (Count rest = count; rest > 1; rest >>= 1) ++bits;
  const bool exact = count == Count{1} << bits;
  return fmt::format("{}2^{}", exact ? "" : "~", bits);
}

json::value count_json(Count count) {
  constexpr Count kExact = Count{1} << 53;
  if (count < kExact) return static_cast<std::int64_t>(count);
  return json::value(digits(count));
}

std::string percent(Count part, Count whole) {
  if (whole == 0) return "-";
  return fmt::format("{:.0f}%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string sentence(const network::PoolUsage& pool) {
  if (pool.free == 0) return fmt::format("IPPool {} is full", pool.name);
  if (pool.forecast && pool.running_out)
    return fmt::format(
        "IPPool {} is running out: {} of {} addresses are free, and {} were assigned in the last "
        "hour; at that pace it is full in {}",
        pool.name, count_text(pool.free), count_text(pool.size), pool.forecast->given_last_hour,
        pool.forecast->full_in.count() == 0 ? std::string("less than an hour")
                                            : fmt::format("{} h", pool.forecast->full_in.count()));
  return fmt::format("IPPool {} is running out: {} of {} addresses are free", pool.name,
                     count_text(pool.free), count_text(pool.size));
}

std::string owner_text(const std::optional<BlockOwner>& owner) {
  if (!owner) return "<nobody>";
  return owner->type == BlockOwner::Type::kHost ? owner->name : owner->to_string();
}

}  // namespace

std::string pools_text(const network::Usage& usage) {
  TextTable table{
      {"POOL", "CIDR", "ADDRESSES", "USED", "COOLING", "RESERVED", "FREE", "BLOCKS", "FULL IN", "STATE"}, {}};
  std::string sentences;
  for (const auto& pool : usage.pools) {
    table.rows.push_back({pool.name, pool.cidr.to_string(), count_text(pool.size),
                          fmt::format("{} ({})", pool.used, percent(pool.used, pool.size)),
                          fmt::format("{}", pool.cooling), count_text(pool.reserved),
                          fmt::format("{} ({})", count_text(pool.free), percent(pool.free, pool.size)),
                          fmt::format("{}/{}", pool.blocks, count_text(pool.blocks_at_most)),
                          pool.forecast ? fmt::format("{}h", pool.forecast->full_in.count()) : "-",
                          pool.disabled      ? "disabled"
                          : pool.free == 0   ? "full"
                          : pool.running_out ? "running out"
                                             : "ok"});
    if (pool.running_out)
      sentences += fmt::format(
          "\n{}.\nAdd another pool (ocicat apply), or see whether addresses have leaked "
          "(ocicat ipam check).\n",
          sentence(pool));
  }
  return table.to_string() + sentences;
}

std::string blocks_text(const network::Usage& usage, TimePoint now) {
  TextTable table{{"BLOCK", "POOL", "OWNER", "USED", "COOLING", "RESERVED", "FREE", "AGE"}, {}};
  for (const auto& block : usage.blocks) {
    table.rows.push_back({block.cidr.to_string(), block.pool.empty() ? "<none>" : block.pool,
                          owner_text(block.owner), fmt::format("{}", block.counts.used),
                          fmt::format("{}", block.counts.cooling), fmt::format("{}", block.counts.reserved),
                          fmt::format("{}", block.counts.free),
                          block.claimed_at ? age_text(now - *block.claimed_at) : "<unknown>"});
  }
  return table.to_string();
}

json::object usage_json(const network::Usage& usage) {
  json::array pools;
  for (const auto& pool : usage.pools) {
    json::object row{{"name", pool.name},
                     {"cidr", pool.cidr.to_string()},
                     {"size", count_json(pool.size)},
                     {"used", pool.used},
                     {"cooling", pool.cooling},
                     {"reserved", count_json(pool.reserved)},
                     {"free", count_json(pool.free)},
                     {"blocks", pool.blocks},
                     {"blocksAtMost", count_json(pool.blocks_at_most)},
                     {"disabled", pool.disabled},
                     {"runningOut", pool.running_out}};
    if (pool.forecast)
      row["forecast"] = json::object{{"givenLastHour", pool.forecast->given_last_hour},
                                     {"fullInHours", pool.forecast->full_in.count()}};
    pools.push_back(std::move(row));
  }
  json::array blocks;
  for (const auto& block : usage.blocks) {
    json::object row{{"cidr", block.cidr.to_string()},    {"pool", block.pool},
                     {"used", block.counts.used},         {"cooling", block.counts.cooling},
                     {"reserved", block.counts.reserved}, {"free", block.counts.free}};
    if (block.owner) row["owner"] = block.owner->to_string();
    if (block.claimed_at) row["claimed"] = seconds_text(*block.claimed_at);
    blocks.push_back(std::move(row));
  }
  return {{"pools", std::move(pools)}, {"blocks", std::move(blocks)}};
}

// --- one address

AddressView address_view(const network::Inventory& inventory, const IpAddress& address) {
  AddressView view;
  view.address = address;
  view.reserved = inventory.reservations.contains(address);
  const IpPool* pool = network::pool_of(inventory.pools, address);
  if (pool != nullptr) view.pool = pool->metadata.name;
  const auto at =
      std::ranges::find_if(inventory.blocks, [&](const auto& block) { return block.cidr.contains(address); });
  if (at == inventory.blocks.end()) {
    view.block = network::unreadable_block_of(inventory.unreadable, address);
    view.state = view.block        ? "in a block that cannot be read"
                 : pool == nullptr ? "in no pool"
                                   : "not in a block";
    return view;
  }
  const auto ordinal = *network::ordinal_of(at->cidr, address);
  view.block = at->cidr;
  view.owner = at->affinity;
  view.state = network::is_free(*at, ordinal) ? "free" : "assigned";
  if (const auto sequence = at->allocated_at.find(ordinal); sequence != at->allocated_at.end())
    view.sequence = sequence->second;
  const auto* attribute = network::attribute_of(*at, ordinal);
  if (attribute == nullptr) return view;
  view.handle = attribute->handle.value_or("");
  view.attributes = attribute->secondary;
  view.released_at = attribute->released_at;
  if (view.released_at) view.state = "cooling";
  return view;
}

std::string to_text(const AddressView& view) {
  std::string text = fmt::format("{} is {}{}\n", view.address.to_string(), view.state,
                                 view.reserved ? ", and reserved: only who names it gets it" : "");
  const auto line = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) text += fmt::format("  {}: {}\n", printable(name), printable(value));
  };
  line("pool", view.pool);
  if (view.block) line("block", view.block->to_string());
  if (view.owner) line("block owner", owner_text(view.owner));
  line("handle", view.handle);
  for (const auto& [name, value] : view.attributes) line(name, value);
  if (view.released_at) line("released", seconds_text(*view.released_at));
  return text;
}

json::object to_json(const AddressView& view) {
  json::object object{{"address", view.address.to_string()},
                      {"state", view.state},
                      {"reserved", view.reserved},
                      {"pool", view.pool},
                      {"handle", view.handle}};
  if (view.block) object["block"] = view.block->to_string();
  if (view.owner) object["owner"] = view.owner->to_string();
  if (view.sequence != 0) object["sequence"] = view.sequence;
  if (view.released_at) object["releasedAt"] = seconds_text(*view.released_at);
  auto& attributes = object["attributes"].emplace_object();
  for (const auto& [name, value] : view.attributes) attributes[name] = value;
  return object;
}

// --- findings

std::string to_text(const GarbageReport& report) {
  if (report.findings.empty()) return "Nothing is amiss.\n";
  TextTable table{{"FAULT", "VERDICT", "WHAT", "SINCE", "REASON"}, {}};
  std::map<network::Verdict, std::size_t> counts;
  for (const auto& finding : report.findings) {
    ++counts[finding.verdict];
    table.rows.push_back({std::string(to_string(finding.fault)), std::string(to_string(finding.verdict)),
                          finding.subject, age_text(report.at - finding.since), finding.reason});
  }
  return table.to_string() + fmt::format("\n{} to free, {} to wait for, {} for you to judge\n",
                                         counts[network::Verdict::kFree], counts[network::Verdict::kWait],
                                         counts[network::Verdict::kReport]);
}

json::object to_json(const GarbageReport& report) {
  json::array findings;
  for (const auto& finding : report.findings) {
    json::object row{{"fault", to_string(finding.fault)},
                     {"verdict", to_string(finding.verdict)},
                     {"subject", finding.subject},
                     {"reason", finding.reason},
                     {"key", finding.key()},
                     {"since", time_text(finding.since)}};
    if (finding.address) row["address"] = finding.address->to_string();
    if (finding.sequence) row["sequence"] = *finding.sequence;
    if (!finding.handle.empty()) row["handle"] = finding.handle;
    if (finding.block) row["block"] = finding.block->to_string();
    if (finding.owner) row["owner"] = finding.owner->to_string();
    findings.push_back(std::move(row));
  }
  return {{"at", time_text(report.at)}, {"findings", std::move(findings)}};
}

Result<network::Sightings> sightings_of(const json::object& report) {
  const auto* findings = report.if_contains("findings");
  if (findings == nullptr || !findings->is_array())
    return fail(ErrorCode::kInvalid, "this is no report of ocicat ipam check -o json");
  network::Sightings sightings;
  for (const auto& finding : findings->get_array()) {
    const auto* object = finding.if_object();
    const auto since = object ? parse_time(text_at(*object, {"since"})) : std::nullopt;
    const auto key = object ? text_at(*object, {"key"}) : std::string();
    if (!since || key.empty()) return fail(ErrorCode::kInvalid, "a finding without key or time");
    sightings.emplace(key, *since);
  }
  return sightings;
}

}  // namespace ocicat::views
