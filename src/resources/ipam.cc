#include "resources/ipam.h"

#include <openssl/evp.h>

#include <boost/json/array.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "resources/decoders.h"
#include "resources/fields.h"

namespace ocicat {
namespace json = boost::json;

namespace {

using Ordinal = IpamBlock::Ordinal;

constexpr std::string_view kDefaultName = "default";
constexpr std::string_view kHostType = "host";
constexpr std::string_view kVirtualType = "virtual";
constexpr std::string_view kNodeAttribute = "node";
// Calico's clients list the affinities of a host by this label.
constexpr std::string_view kHostnameLabel = "projectcalico.org/hostname-hash";
constexpr int kMaxBlocks = 1'000'000;
constexpr int kMaxCooldownSeconds = 1200;
constexpr std::size_t kMaxNameLength = 252;

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return result;
}

std::vector<unsigned char> digest_of(std::string_view text, const EVP_MD* algorithm) {
  std::vector<unsigned char> digest(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  CHECK(EVP_Digest(text.data(), text.size(), digest.data(), &size, algorithm, nullptr) == 1);
  digest.resize(size);
  return digest;
}

// RFC 4648, without padding.
std::string base32(const std::vector<unsigned char>& bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  std::string text;
  std::uint32_t buffer = 0;
  int bits = 0;
  for (const unsigned char byte : bytes) {
    buffer = buffer << 8 | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += kDigits[buffer >> (bits - 5) & 31U];
  }
  if (bits > 0) text += kDigits[buffer << (5 - bits) & 31U];
  return text;
}

std::string_view type_of(const BlockOwner& owner) {
  return owner.type == BlockOwner::Type::kHost ? kHostType : kVirtualType;
}

struct Parts {
  json::object metadata;
  const json::object* spec = nullptr;
};

Result<Parts> parts_of(const json::object& document) {
  TRY(const auto* metadata, fields::object_at(document, "metadata"));
  if (metadata == nullptr) return fields::wrong("metadata", "must be there");
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return fields::wrong("spec", "must be there");
  return Parts{*metadata, spec};
}

// `read(spec, value)` fills the value in.
template <class Value, class Read>
Result<Stored<Value>> decode_stored(const json::object& document, Read read) {
  TRY(auto parts, parts_of(document));
  Stored<Value> stored{{}, std::move(parts.metadata)};
  if (Result<void> done = read(*parts.spec, stored.value); !done)
    return fields::inside("spec", std::move(done).error());
  return stored;
}

Result<Prefix> prefix_at(const json::object& spec, std::string_view name) {
  TRY(const auto text, fields::string_at(spec, name));
  const auto prefix = Prefix::parse(text);
  if (!prefix || !prefix->is_masked()) return fields::wrong(name, json::value(text), "must be a CIDR");
  return *prefix;
}

Result<std::optional<TimePoint>> time_at(const json::object& object, std::string_view name) {
  TRY(const auto text, fields::string_at(object, name));
  if (text.empty()) return std::nullopt;
  const auto time = parse_time(text);
  if (!time) return fields::wrong(name, json::value(text), "must be a time in UTC");
  return time;
}

json::object document_of(Kind kind, const json::object& metadata, json::object spec) {
  return {{"apiVersion", info(kind).api_version()},
          {"kind", info(kind).name},
          {"metadata", metadata},
          {"spec", std::move(spec)}};
}

// --- blocks

Result<std::int64_t> whole_number(const json::value& value, std::string_view where) {
  if (const auto* number = value.if_int64()) return *number;
  return fields::wrong(where, value, "must be a whole number");
}

Result<void> read_allocations(const json::object& spec, IpamBlock& block) {
  TRY(const auto* list, fields::array_at(spec, "allocations"));
  const int bits = bits_of(block.cidr.family()) - block.cidr.length;
  if (bits > kMaxBlockBits) return fields::wrong("cidr", "has more addresses than a block may have");
  const std::size_t size = std::size_t{1} << bits;
  if (list == nullptr || list->size() != size)
    return fields::wrong("allocations", fmt::format("must have {} entries, one for each address", size));
  block.allocations.resize(size);
  for (std::size_t i = 0; i < size; ++i) {
    if ((*list)[i].is_null()) continue;
    TRY(const auto index, whole_number((*list)[i], "allocations"));
    // One that points nowhere still says that the address is somebody's.
    const bool fits = index >= 0 && index < std::numeric_limits<std::uint32_t>::max();
    block.allocations[i] =
        fits ? static_cast<std::uint32_t>(index) : std::numeric_limits<std::uint32_t>::max();
  }
  return {};
}

Result<void> read_unallocated(const json::object& spec, IpamBlock& block) {
  TRY(const auto* list, fields::array_at(spec, "unallocated"));
  std::vector<bool> seen(block.size());
  const auto add = [&](Ordinal ordinal) {
    if (ordinal >= block.size() || seen[ordinal] || block.allocations[ordinal]) return;
    seen[ordinal] = true;
    block.unallocated.push_back(ordinal);
  };
  for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
    TRY(const auto ordinal, whole_number((*list)[i], "unallocated"));
    if (ordinal >= 0 && ordinal < std::int64_t{1} << kMaxBlockBits) add(static_cast<Ordinal>(ordinal));
  }
  for (Ordinal ordinal = 0; ordinal < block.size(); ++ordinal) add(ordinal);
  return {};
}

Result<IpamBlock::Attribute> read_attribute(const json::object& object) {
  IpamBlock::Attribute attribute;
  TRY(const auto handle, fields::string_at(object, "handle_id"));
  if (fields::find(object, "handle_id") != nullptr) attribute.handle = handle;
  TRY(attribute.secondary, fields::labels_at(object, "secondary"));
  TRY(attribute.alternate, fields::labels_at(object, "alternateOwnerAttrs"));
  TRY(attribute.released_at, time_at(object, "releasedAt"));
  return attribute;
}

Result<void> read_attributes(const json::object& spec, IpamBlock& block) {
  TRY(const auto objects, fields::objects_at(spec, "attributes"));
  for (std::size_t i = 0; i < objects.size(); ++i) {
    auto attribute = read_attribute(*objects[i]);
    if (!attribute) return fields::inside("attributes", i, std::move(attribute).error());
    block.attributes.push_back(*std::move(attribute));
  }
  return {};
}

Result<void> read_sequences(const json::object& spec, IpamBlock& block) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  TRY(const auto sequence, fields::integer_at(spec, "sequenceNumber", 0, kMost));
  block.sequence = sequence.value_or(0);
  TRY(const auto* map, fields::object_at(spec, "sequenceNumberForAllocation"));
  if (map == nullptr) return {};
  for (const auto& [key, value] : *map) {
    TRY(const auto number, whole_number(value, "sequenceNumberForAllocation"));
    Ordinal ordinal = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), ordinal);
    if (error == std::errc() && end == key.data() + key.size() && ordinal < block.size())
      block.allocated_at[ordinal] = number;
  }
  return {};
}

// Whose the block is, and which attribute each of its addresses has.
Result<void> read_places(const json::object& spec, IpamBlock& block) {
  TRY(block.cidr, prefix_at(spec, "cidr"));
  TRY(const auto affinity, fields::string_at(spec, "affinity"));
  if (!affinity.empty()) {
    block.affinity = BlockOwner::parse(affinity);
    if (!block.affinity)
      return fields::wrong("affinity", json::value(affinity), "must be host:NAME or virtual:NAME");
  }
  TRY(block.deleted, fields::bool_at(spec, "deleted"));
  return read_allocations(spec, block);
}

Result<void> read_block(const json::object& spec, IpamBlock& block) {
  TRY_VOID(read_places(spec, block));
  TRY(block.claimed_at, time_at(spec, "affinityClaimTime"));
  TRY(block.strict_affinity, fields::bool_at(spec, "strictAffinity"));
  TRY_VOID(read_unallocated(spec, block));
  TRY_VOID(read_attributes(spec, block));
  return read_sequences(spec, block);
}

json::object encode_labels(const Labels& labels) {
  json::object object;
  for (const auto& [name, value] : labels) object[name] = value;
  return object;
}

json::object encode_attribute(const IpamBlock::Attribute& attribute) {
  json::object object;
  if (attribute.handle) object["handle_id"] = *attribute.handle;
  if (!attribute.secondary.empty()) object["secondary"] = encode_labels(attribute.secondary);
  if (!attribute.alternate.empty()) object["alternateOwnerAttrs"] = encode_labels(attribute.alternate);
  if (attribute.released_at) object["releasedAt"] = seconds_text(*attribute.released_at);
  return object;
}

// The host that each attribute is of; empty: none is named, or the address cools down and is nobody's.
Result<std::vector<std::string_view>> nodes_of_attributes(const json::object& spec) {
  std::vector<std::string_view> nodes;
  TRY(const auto attributes, fields::objects_at(spec, "attributes"));
  nodes.reserve(attributes.size());
  for (const auto* attribute : attributes) {
    TRY(const auto* secondary, fields::object_at(*attribute, "secondary"));
    TRY(const auto released_at, time_at(*attribute, "releasedAt"));
    auto& node = nodes.emplace_back();
    if (secondary != nullptr && !released_at) {
      TRY(node, fields::string_at(*secondary, kNodeAttribute));
    }
  }
  return nodes;
}

// Reads no more of the block than that: an agent reads those of all hosts.
Result<void> read_ways(const json::object& spec, AddressBlock& found) {
  IpamBlock block;
  TRY_VOID(read_places(spec, block));
  found.cidr = block.cidr;
  if (block.deleted) return {};
  TRY(const auto nodes, nodes_of_attributes(spec));
  if (block.affinity && block.affinity->type == BlockOwner::Type::kHost)
    found.node = std::move(block.affinity->name);
  for (Ordinal ordinal = 0; ordinal < block.size(); ++ordinal) {
    const auto index = block.allocations[ordinal];
    if (!index || *index >= nodes.size()) continue;
    const auto node = nodes[*index];
    if (!node.empty() && node != found.node)
      found.elsewhere.push_back({address_at(block.cidr, ordinal), std::string(node)});
  }
  return {};
}

// --- handles and affinities

Result<void> read_handle(const json::object& spec, IpamHandle& handle) {
  TRY(const auto id, fields::string_at(spec, "handleID"));
  if (id.empty()) return fields::wrong("handleID", "must be there");
  handle.id = id;
  TRY(handle.deleted, fields::bool_at(spec, "deleted"));
  TRY(const auto* blocks, fields::object_at(spec, "block"));
  if (blocks == nullptr) return {};
  for (const auto& [key, value] : *blocks) {
    const auto cidr = Prefix::parse(fields::view(key));
    if (!cidr) return fields::wrong("block", json::value(key), "must be the CIDR of a block");
    TRY(const auto count, whole_number(value, "block"));
    handle.blocks[cidr->masked()] = static_cast<int>(std::clamp<std::int64_t>(count, 0, 1 << kMaxBlockBits));
  }
  return {};
}

Result<void> read_affinity(const json::object& spec, BlockAffinity& affinity) {
  TRY(affinity.cidr, prefix_at(spec, "cidr"));
  TRY(const auto node, fields::string_at(spec, "node"));
  if (node.empty()) return fields::wrong("node", "must be there");
  TRY(const auto type, fields::string_at(spec, "type"));
  if (!type.empty() && type != kHostType && type != kVirtualType)
    return fields::wrong("type", json::value(type), "must be host or virtual");
  affinity.owner = {type == kVirtualType ? BlockOwner::Type::kVirtual : BlockOwner::Type::kHost,
                    std::string(node)};
  TRY(const auto state, fields::string_at(spec, "state"));
  using State = BlockAffinity::State;
  affinity.state = State::kConfirmed;  // also where nothing is said
  for (const State other : {State::kPending, State::kPendingDeletion}) {
    if (state == to_string(other)) affinity.state = other;
  }
  TRY(affinity.deleted, fields::bool_at(spec, "deleted"));
  return {};
}

// So that no two documents are about one thing.
Result<void> is_called(const json::object& metadata, const ResourceKey& key) {
  TRY(const auto name, fields::string_at(metadata, "name"));
  if (name == key.name) return {};
  return fields::wrong("metadata.name", json::value(name),
                       fmt::format("must be {}, from what it is about", key.name));
}

// An object is made with its name alone, and written with whatever else it had.
json::object named(json::object metadata, const ResourceKey& key) {
  metadata["name"] = key.name;
  return metadata;
}

}  // namespace

std::string name_of(const Prefix& prefix) {
  std::string name = prefix.to_string();
  std::ranges::replace_if(name, [](char c) { return c == '.' || c == ':' || c == '/'; }, '-');
  return name;
}

std::optional<BlockOwner> BlockOwner::parse(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) return std::nullopt;
  const auto type = text.substr(0, colon);
  if (type != kHostType && type != kVirtualType) return std::nullopt;
  return BlockOwner{type == kHostType ? Type::kHost : Type::kVirtual, std::string(text.substr(colon + 1))};
}

std::string BlockOwner::to_string() const {
  return fmt::format("{}:{}", type_of(*this), name);
}

std::string_view to_string(BlockAffinity::State state) {
  switch (state) {
    case BlockAffinity::State::kConfirmed:
      return "confirmed";
    case BlockAffinity::State::kPending:
      return "pending";
    case BlockAffinity::State::kPendingDeletion:
      return "pendingDeletion";
  }
  return "confirmed";
}

ResourceKey block_key(const Prefix& cidr) {
  return {Kind::kIpamBlock, "", name_of(cidr)};
}

ResourceKey key_of(const IpamBlock& block) {
  return block_key(block.cidr);
}

// A name that would be too long is cut, and told apart by a hash, as Calico does.
ResourceKey affinity_key(const BlockOwner& owner, const Prefix& cidr) {
  constexpr std::size_t kHashDigits = 11;
  const auto block = name_of(cidr);
  auto name = fmt::format("{}-{}", owner.name, block);
  if (name.size() > kMaxNameLength) {
    const auto hash = digest_of(fmt::format("{}+{}", owner.name, block), EVP_sha256());
    std::string digits;
    for (const auto byte : hash) digits += fmt::format("{:02x}", byte);
    const auto kept = kMaxNameLength - block.size() - kHashDigits - 2;
    name = fmt::format("{}-{}-{}", owner.name.substr(0, kept), block, digits.substr(0, kHashDigits));
  }
  return {Kind::kBlockAffinity, "", std::move(name)};
}

ResourceKey handle_key(std::string_view id) {
  return {Kind::kIpamHandle, "", lower(id)};
}

ResourceKey ipam_configuration_key() {
  return {Kind::kIpamConfiguration, "", std::string(kDefaultName)};
}

Result<IpReservation> decode_reservation(const json::object& document) {
  TRY(const auto parts, parts_of(document));
  TRY(const auto name, fields::string_at(parts.metadata, "name"));
  auto cidrs = fields::prefixes_at(*parts.spec, "reservedCIDRs");
  if (!cidrs) return fields::inside("spec", std::move(cidrs).error());
  return IpReservation{std::string(name), *std::move(cidrs)};
}

Result<IpamConfiguration> decode_ipam_configuration(const json::object& document) {
  TRY(const auto parts, parts_of(document));
  const json::object& spec = *parts.spec;
  IpamConfiguration configuration;
  TRY(configuration.strict_affinity, fields::bool_at(spec, "strictAffinity"));
  if (fields::find(spec, "autoAllocateBlocks") != nullptr) {
    TRY(configuration.auto_allocate_blocks, fields::bool_at(spec, "autoAllocateBlocks"));
  }
  TRY(const auto most, fields::integer_at(spec, "maxBlocksPerHost", 0, kMaxBlocks));
  configuration.max_blocks_per_host = static_cast<int>(most.value_or(0));
  TRY(const auto seconds, fields::integer_at(spec, "ipCooldownSeconds", 0, kMaxCooldownSeconds));
  configuration.cooldown = std::chrono::seconds(seconds.value_or(0));
  return configuration;
}

std::string_view contradiction_in(const IpamConfiguration& configuration) {
  if (configuration.strict_affinity) return {};
  if (!configuration.auto_allocate_blocks)
    return "strictAffinity and autoAllocateBlocks cannot both be off, hosts would take only from blocks that "
           "are there";
  if (configuration.max_blocks_per_host > 0)
    return "maxBlocksPerHost needs strictAffinity, or others would take from a host's blocks, which may have "
           "no more";
  return {};
}

Result<Stored<BlockAffinity>> decode_affinity(const json::object& document) {
  TRY(auto stored, decode_stored<BlockAffinity>(document, read_affinity));
  TRY_VOID(is_called(stored.metadata, affinity_key(stored.value.owner, stored.value.cidr)));
  return stored;
}

Result<Stored<IpamHandle>> decode_handle(const json::object& document) {
  return decode_stored<IpamHandle>(document, read_handle);
}

Result<Stored<IpamBlock>> decode_block(const json::object& document) {
  TRY(auto stored, decode_stored<IpamBlock>(document, read_block));
  TRY_VOID(is_called(stored.metadata, key_of(stored.value)));
  return stored;
}

IpAddress address_at(const Prefix& block, Ordinal ordinal) {
  CHECK(ordinal < Ordinal{1} << kMaxBlockBits);
  auto bytes = block.first().bytes();
  bytes[14] = static_cast<std::uint8_t>(bytes[14] | ordinal >> 8);
  bytes[15] = static_cast<std::uint8_t>(bytes[15] | (ordinal & 0xff));
  return IpAddress::v6(bytes);
}

std::string_view node_of(const IpamBlock::Attribute& attribute) {
  const auto it = attribute.secondary.find(std::string(kNodeAttribute));
  return it == attribute.secondary.end() ? std::string_view() : it->second;
}

Result<AddressBlock> decode_address_block(const json::object& document) {
  AddressBlock found;
  TRY(found.metadata, decoding::read_identity(Kind::kIpamBlock, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return fields::wrong("spec", "must be there");
  if (auto done = read_ways(*spec, found); !done) return fields::inside("spec", std::move(done).error());
  TRY(const auto* metadata, fields::object_at(document, "metadata"));
  TRY_VOID(is_called(*metadata, block_key(found.cidr)));
  return found;
}

Result<BlockClaim> decode_block_claim(const json::object& document) {
  TRY(auto metadata, decoding::read_identity(Kind::kBlockAffinity, document));
  TRY(auto stored, decode_affinity(document));
  auto& affinity = stored.value;
  BlockClaim claim{.metadata = std::move(metadata), .cidr = affinity.cidr, .node = {}};
  const bool of_host = affinity.owner.type == BlockOwner::Type::kHost;
  if (of_host && !affinity.deleted) claim.node = std::move(affinity.owner.name);
  claim.confirmed = affinity.state == BlockAffinity::State::kConfirmed;
  return claim;
}

json::object encode(const IpamConfiguration& configuration) {
  json::object spec{{"strictAffinity", configuration.strict_affinity},
                    {"autoAllocateBlocks", configuration.auto_allocate_blocks},
                    {"maxBlocksPerHost", configuration.max_blocks_per_host},
                    {"ipCooldownSeconds", configuration.cooldown.count()}};
  return document_of(Kind::kIpamConfiguration, {{"name", kDefaultName}}, std::move(spec));
}

json::object encode(const Stored<BlockAffinity>& stored) {
  const BlockAffinity& affinity = stored.value;
  auto metadata = named(stored.metadata, affinity_key(affinity.owner, affinity.cidr));
  auto& labels = metadata["labels"];
  if (!labels.is_object()) labels.emplace_object();
  labels.get_object()[kHostnameLabel] = base32(digest_of(affinity.owner.name, EVP_sha3_256()));
  json::object spec{{"cidr", affinity.cidr.to_string()},
                    {"node", affinity.owner.name},
                    {"type", type_of(affinity.owner)},
                    {"state", to_string(affinity.state)},
                    {"deleted", affinity.deleted}};
  return document_of(Kind::kBlockAffinity, metadata, std::move(spec));
}

json::object encode(const Stored<IpamHandle>& stored) {
  const IpamHandle& handle = stored.value;
  json::object blocks;
  for (const auto& [cidr, count] : handle.blocks) blocks[cidr.to_string()] = count;
  json::object spec{{"handleID", handle.id}, {"block", std::move(blocks)}, {"deleted", handle.deleted}};
  return document_of(Kind::kIpamHandle, named(stored.metadata, handle_key(handle.id)), std::move(spec));
}

json::object encode(const Stored<IpamBlock>& stored) {
  const IpamBlock& block = stored.value;
  json::array allocations;
  for (const auto& index : block.allocations)
    allocations.emplace_back(index ? json::value(static_cast<std::int64_t>(*index)) : json::value());
  json::array unallocated;
  for (const Ordinal ordinal : block.unallocated)
    unallocated.emplace_back(static_cast<std::int64_t>(ordinal));
  json::array attributes;
  for (const auto& attribute : block.attributes) attributes.emplace_back(encode_attribute(attribute));
  json::object sequences;
  for (const auto& [ordinal, sequence] : block.allocated_at) sequences[std::to_string(ordinal)] = sequence;
  json::object spec{
      {"cidr", block.cidr.to_string()},          {"allocations", std::move(allocations)},
      {"unallocated", std::move(unallocated)},   {"attributes", std::move(attributes)},
      {"sequenceNumber", block.sequence},        {"sequenceNumberForAllocation", std::move(sequences)},
      {"strictAffinity", block.strict_affinity}, {"deleted", block.deleted}};
  if (block.affinity) spec["affinity"] = block.affinity->to_string();
  if (block.claimed_at) spec["affinityClaimTime"] = seconds_text(*block.claimed_at);
  return document_of(Kind::kIpamBlock, named(stored.metadata, key_of(block)), std::move(spec));
}

}  // namespace ocicat
