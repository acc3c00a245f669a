#include "dataplane/nftables/entries.h"

#include <linux/if.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>

#include "dataplane/nftables/ruleset.h"

namespace ocicat::dataplane {
namespace {

using kernel::nft::Element;
using kernel::nft::ElementData;
using kernel::nft::ElementKey;

template <class Id>
  requires std::is_enum_v<Id>
std::uint32_t number(Id id) {
  return static_cast<std::uint32_t>(id);
}

// IPv6 nets may begin or end among the IPv4-mapped addresses, so the family is not the address's to tell.
void append_address(ElementKey& key, Family family, const IpAddress& address) {
  const auto bytes = std::span(address.bytes());
  key.append(family == Family::kIpv4 ? bytes.last(4) : bytes);
}

// Table, protocol, detail; the last two as registers hold what is loaded from a packet: padded behind.
ElementKey cell_key(policy::TableId table, std::uint32_t key) {
  ElementKey bytes;
  bytes.append_be32(number(table));
  const std::array<std::uint8_t, 8> rest{
      static_cast<std::uint8_t>(key >> 16), 0, 0, 0, static_cast<std::uint8_t>(key >> 8),
      static_cast<std::uint8_t>(key),       0, 0};
  bytes.append(rest);
  return bytes;
}

bool is_interface_name(std::string_view name) {
  return !name.empty() && name.size() < IFNAMSIZ;
}

ElementKey interface_key(std::string_view name) {
  ElementKey key;
  key.append({reinterpret_cast<const std::uint8_t*>(name.data()), name.size()});
  key.pad_to(IFNAMSIZ);
  return key;
}

// The least key after all that begin with the name: a name has a zero at its end.
ElementKey after_name(std::string_view name) {
  const auto key = interface_key(name);
  std::vector<std::uint8_t> bytes(key.view().begin(), key.view().end());
  bytes.back() = 1;
  ElementKey next;
  next.append(bytes);
  return next;
}

ElementKey key_of(Family family, const IpAddress& address) {
  ElementKey key;
  append_address(key, family, address);
  return key;
}

Entry class_at_net(Family family, std::uint32_t exact, const std::optional<Prefix>& net,
                   policy::ClassId address_class) {
  Entry entry{nets_map(family), {}, {}, {}};
  entry.key.append_be32(exact);
  entry.key.append(net_key(family, net).view());
  entry.data.append_be32(number(address_class));
  return entry;
}

// Of addresses with a class of their own no net is asked.
Entry range_of_exact(Family family) {
  const auto none = net_key(family, std::nullopt);
  Entry entry{ranges_map(family), {}, {}, {}};
  entry.key.append_be32(0);
  entry.key.append(none.view());
  entry.end.append_be32(kUnknownClass);
  entry.end.append(none.view());
  entry.data.append(none.view());
  return entry;
}

void for_each_way(const auto& visit) {
  for (const auto direction : policy::kDirections) {
    for (const auto family : kFamilies) visit(direction, family);
  }
}

void for_each_host_way(const auto& visit) {
  for (const auto hook : policy::kHooks) {
    for (const auto family : kFamilies) visit(hook, family);
  }
}
constexpr std::array kHostEndings{Ending::kQuiet, Ending::kUntracked, Ending::kPreDnat};

bool before_in_kernel(const Element& a, const Element& b) {
  if (a.key != b.key) return a.key < b.key;
  return a.interval_end && !b.interval_end;  // one interval ends where the next begins
}

}  // namespace

bool same_place(const Entry& a, const Entry& b) {
  return a.map == b.map && a.key == b.key && a.end == b.end;
}

ElementKey answer_key(Answer answer) {
  ElementKey key;
  key.append_be32(0);
  key.append_be32(number(answer));
  return key;
}

ElementKey answer_of(const policy::Outcome* outcome) {
  if (outcome == nullptr) return answer_key(Answer::kDeny);
  if (const auto chain = log_chain_of(*outcome)) return id_of(*chain);
  switch (outcome->verdict) {
    case policy::Verdict::kAllow:
      return answer_key(Answer::kAllow);
    case policy::Verdict::kNone:
      return answer_key(Answer::kNone);
    case policy::Verdict::kDeny:
      break;
  }
  return answer_key(Answer::kDeny);
}

void add_cells(policy::TableId id, const policy::Table& table,
               const std::map<policy::OutcomeId, policy::Outcome>& outcomes, Entries& entries) {
  const auto add = [&](std::uint32_t first, std::uint32_t last, std::uint32_t what,
                       const ElementKey& answer) {
    Entry entry{Map::kCells, cell_key(id, first), {}, {}};
    entry.end =
        last == policy::kLastTableKey ? cell_key(policy::TableId{number(id) + 1}, 0) : cell_key(id, last + 1);
    entry.data.append_be32(0);
    entry.data.append_be32(what);
    entry.data.append(answer.view());
    entries.push_back(entry);
  };
  std::uint32_t next = 0;
  for (const auto& interval : table) {
    if (interval.first > next) add(next, interval.first - 1, 0, answer_key(Answer::kAskBase));
    next = interval.last + 1;
    if (interval.source_ports != policy::TableId{}) {
      add(interval.first, interval.last, number(interval.source_ports), answer_key(Answer::kSourcePorts));
    } else {
      const auto outcome = outcomes.find(interval.outcome);
      add(interval.first, interval.last, number(interval.outcome),
          answer_of(outcome == outcomes.end() ? nullptr : &outcome->second));
    }
  }
  if (next <= policy::kLastTableKey) add(next, policy::kLastTableKey, 0, answer_key(Answer::kAskBase));
}

Entry program_entry(policy::ProgramId id, const policy::Program& program) {
  Entry entry{Map::kPrograms, {}, {}, {}};
  entry.key.append_be32(number(id));
  entry.data.append_be32(0);
  entry.data.append_be32(number(program.base));
  entry.data.append_be32(number(program.vocabulary));
  return entry;
}

Entry table_entry(const policy::TableKey& key, policy::TableId table) {
  Entry entry{Map::kTables, {}, {}, {}};
  entry.key.append_be32(number(key.program));
  entry.key.append_be32(number(key.projection));
  entry.data.append_be32(0);
  entry.data.append_be32(number(table));
  return entry;
}

Entry projection_entry(const policy::ProjectionKey& key, policy::ProjectionId projection) {
  Entry entry{Map::kProjections, {}, {}, {}};
  entry.key.append_be32(number(key.vocabulary));
  entry.key.append_be32(number(key.address_class));
  entry.data.append_be32(number(projection));
  return entry;
}

Entry class_entry(const IpAddress& address, policy::ClassId address_class) {
  Entry entry{classes_map(address.family()), key_of(address.family(), address), {}, {}};
  for ([[maybe_unused]] const int word : {0, 1}) entry.data.append_be32(number(address_class));
  return entry;
}

Entry range_entry(Family family, const IpAddress& first, const IpAddress& last,
                  const std::optional<Prefix>& net) {
  const auto at = [&](const IpAddress& address) {
    ElementKey key;
    key.append_be32(kUnknownClass);
    append_address(key, family, address);
    return key;
  };
  Entry entry{ranges_map(family), at(first), {}, {}};
  if (const auto next = last.next()) entry.end = at(*next);
  entry.data.append(net_key(family, net).view());
  return entry;
}

Entry net_entry(const Prefix& net, policy::ClassId address_class) {
  return class_at_net(net.family(), kUnknownClass, net, address_class);
}

Entry exact_entry(Family family, policy::ClassId address_class) {
  return class_at_net(family, number(address_class), std::nullopt, address_class);
}

bool is_exact(const Entry& entry) {
  return (entry.map == Map::kNets4 || entry.map == Map::kNets6) && entry.key.be32_at(0) != kUnknownClass;
}

void add_log_answers(const LogId& id, Entries& entries) {
  const auto leads_to_chain = kernel::nft::verdict_data(NFT_GOTO, name_of(id));
  entries.push_back({Map::kAnswers, id, {}, leads_to_chain});
  for_each_way([&](policy::Direction direction, Family family) {
    entries.push_back({answers_map(direction, family), id, {}, leads_to_chain});
  });
  const auto lead = [&](Map map, Ending ending) {
    entries.push_back({map, id, {}, kernel::nft::verdict_data(NFT_GOTO, name_of(id, ending))});
  };
  for (const auto ending : kHostEndings) lead(answers_map(ending), ending);
  for_each_host_way(
      [&](policy::Hook hook, Family family) { lead(answers_map(hook, family), ending_of(hook)); });
}

Entries constant_entries() {
  Entries entries;
  const auto answer = [&](Map map, Answer what, int verdict, std::string_view chain = {}) {
    entries.push_back({map, answer_key(what), {}, kernel::nft::verdict_data(verdict, chain)});
  };
  const auto fixed_answers = [&](Map map, Ending ending = Ending::kFilter) {
    const auto allowed = allow_chain(ending);
    allowed.empty() ? answer(map, Answer::kAllow, NFT_RETURN)
                    : answer(map, Answer::kAllow, NFT_GOTO, allowed);
    answer(map, Answer::kDeny, NFT_GOTO, deny_chain(ending));
    answer(map, Answer::kNone, NFT_RETURN);
  };
  // Where source ports have been led to already the rule goes on, to the second table or to the base table.
  const auto final_answers = [&](Map map, Ending ending = Ending::kFilter) {
    fixed_answers(map, ending);
    answer(map, Answer::kSourcePorts, NFT_CONTINUE);
    answer(map, Answer::kAskBase, NFT_CONTINUE);
  };
  final_answers(Map::kAnswers);
  for_each_way([&](policy::Direction direction, Family family) {
    const auto map = answers_map(direction, family);
    fixed_answers(map);
    answer(map, Answer::kSourcePorts, NFT_GOTO, source_ports_chain(direction, family));
    answer(map, Answer::kAskBase, NFT_CONTINUE);
  });
  for (const auto ending : kHostEndings) final_answers(answers_map(ending), ending);
  for_each_host_way([&](policy::Hook hook, Family family) {
    const auto map = answers_map(hook, family);
    fixed_answers(map, ending_of(hook));
    answer(map, Answer::kSourcePorts, NFT_GOTO, source_ports_chain(hook, family));
    answer(map, Answer::kAskBase, NFT_CONTINUE);
  });
  const auto add = [&](Map map, const ElementKey& key, std::initializer_list<std::uint32_t> words) {
    Entry entry{map, key, {}, {}};
    for (const auto word : words) entry.data.append_be32(word);
    entries.push_back(entry);
  };
  add(Map::kTables, {}, {0, number(kNoTable)});
  add(Map::kProjections, {}, {0});
  add(Map::kHostChains, {}, {0, 0, 0});
  for (const auto family : kFamilies) {
    add(classes_map(family), {}, {kUnknownClass, kUnknownClass});
    entries.push_back(range_of_exact(family));
    entries.push_back(class_at_net(family, kUnknownClass, std::nullopt, policy::ClassId{}));
  }
  add_cells(kNoTable, {}, {}, entries);
  return entries;
}

Entry dictionary_entry(const policy::DictionaryKey& key, std::uint32_t id) {
  Entry entry{Map::kDictionary, {}, {}, {}};
  entry.key.append(key.meaning.bytes);
  entry.key.append_be32(number(key.space));
  entry.data.append_be32(id);
  return entry;
}

Entry interface_entry(std::string_view interface_name) {
  return {Map::kInterfaces, interface_key(interface_name), {}, {}};
}

Entry host_entry(const IpAddress& address) {
  Entry entry{hosts_map(address.family()), {}, {}, {}};
  append_address(entry.key, address.family(), address);
  return entry;
}

std::optional<Entry> endpoint_entry(policy::Direction direction, std::string_view interface_name,
                                    const IpAddress& address, policy::ProgramId program) {
  if (!is_interface_name(interface_name)) return std::nullopt;
  Entry entry{programs_map(direction, address.family()), interface_key(interface_name), {}, {}};
  append_address(entry.key, address.family(), address);
  entry.data.append_be32(0);
  entry.data.append_be32(number(program));
  return entry;
}

std::optional<Entry> host_interface_entry(std::string_view interface_name, std::uint32_t host_endpoint) {
  Entry entry{Map::kHostInterfaces, {}, {}, {}};
  if (!interface_name.empty()) {
    if (!is_interface_name(interface_name)) return std::nullopt;
    entry.key = interface_key(interface_name);
  }
  entry.data.append_be32(0);
  entry.data.append_be32(host_endpoint);
  return entry;
}

Entry host_chain_entry(std::uint32_t host_endpoint, Family family, policy::Hook hook, policy::ChainId chain,
                       policy::VocabularyId vocabulary) {
  Entry entry{Map::kHostChains, {}, {}, {}};
  entry.key.append_be32(host_endpoint);
  entry.key.append_be32(hook_number(family, hook));
  entry.data.append_be32(0);
  entry.data.append_be32(number(chain));
  entry.data.append_be32(number(vocabulary));
  return entry;
}

std::optional<Entry> source_entry(std::string_view interface_name, const Prefix& source) {
  if (!is_interface_name(interface_name)) return std::nullopt;
  const auto family = source.family();
  Entry entry{sources_map(family), interface_key(interface_name), interface_key(interface_name), {}};
  append_address(entry.key, family, source.first());
  // The last address of all is behind what a key can say: then the end is the next name's beginning.
  if (const auto next = source.last().next()) {
    append_address(entry.end, family, *next);
  } else {
    entry.end = after_name(interface_name);
    append_address(entry.end, family, family == Family::kIpv4 ? IpAddress::v4(0) : IpAddress{});
  }
  return entry;
}

std::optional<Entry> source_chain_entry(std::string_view interface_name, Family family, policy::ChainId chain,
                                        policy::VocabularyId vocabulary) {
  if (!is_interface_name(interface_name)) return std::nullopt;
  Entry entry{source_chains_map(family), interface_key(interface_name), {}, {}};
  entry.data.append_be32(0);
  entry.data.append_be32(number(chain));
  entry.data.append_be32(number(vocabulary));
  return entry;
}

Entry chain_program_entry(const policy::ChainKey& key, policy::ProgramId program) {
  Entry entry{Map::kChainPrograms, {}, {}, {}};
  entry.key.append_be32(number(key.chain));
  entry.key.append_be32(number(key.projection));
  entry.data.append_be32(0);
  entry.data.append_be32(number(program));
  return entry;
}

Entries step_entries(std::uint32_t step) {
  Entry current{Map::kStep, {}, {}, {}}, holds{Map::kSteps, {}, {}, {}};
  current.data.append_be32(0);
  current.data.append_be32(step);
  holds.key.append_be32(step);
  return {current, holds};
}

std::uint32_t step_of(const Entries& entries) {
  const auto found = std::ranges::find(entries, Map::kStep, &Entry::map);
  return found == entries.end() ? 0 : found->data.be32_at(4);
}

ElementKey net_key(Family family, const std::optional<Prefix>& net) {
  if (!net) return key_of(family, family == Family::kIpv4 ? IpAddress::v4(0) : IpAddress{});
  CHECK(!net->is_host());
  auto bytes = net->masked().address.bytes();
  const std::size_t bit = bytes.size() * 8 - static_cast<std::size_t>(bits_of(family)) + net->length;
  bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] | 0x80 >> bit % 8);
  return key_of(family, IpAddress::v6(bytes));
}

Result<policy::Dictionary> dictionary_of(const std::vector<Element>& elements) {
  const auto& layout = set_of(Map::kDictionary);
  policy::Dictionary dictionary;
  for (const auto& element : elements) {
    if (element.key.size() != layout.key_length || element.data.size() != layout.data_length) {
      return fail(ErrorCode::kInvalid, "the dictionary in the kernel is of another layout");
    }
    policy::DictionaryKey key;
    std::ranges::copy(element.key.view().first(key.meaning.bytes.size()), key.meaning.bytes.begin());
    const auto space = element.key.be32_at(key.meaning.bytes.size());
    if (space >= policy::kIdSpaceCount) {
      return fail(ErrorCode::kInvalid, "the dictionary in the kernel has ids of a kind that is not known");
    }
    key.space = static_cast<policy::IdSpace>(space);
    dictionary.emplace(key, element.data.be32_at(0));
  }
  return dictionary;
}

Result<Entries> entries_of(Map map, std::vector<Element> elements) {
  const auto damaged = [&] {
    return fail(ErrorCode::kInvalid, "map {}: intervals do not fit", set_of(map).name);
  };
  std::ranges::sort(elements, before_in_kernel);
  Entries entries;
  entries.reserve(elements.size());
  bool open = false;
  for (const auto& element : elements) {
    if (element.interval_end) {
      if (!open) return damaged();
      entries.back().end = element.key;
      open = false;
      continue;
    }
    if (open) return damaged();
    entries.push_back({map, element.key, {}, element.data});
    open = set_of(map).interval;
  }
  return entries;
}

void add_elements(const Entry& entry, std::vector<Element>& elements) {
  elements.push_back({entry.key, false, entry.data});
  if (!entry.end.empty()) elements.push_back({entry.end, true, {}});
}

}  // namespace ocicat::dataplane
