#include "sim/kernel_lookup.h"

#include <utility>

#include "dataplane/nftables/entries.h"

namespace ocicat::test {
namespace {

using dataplane::Answer;
using dataplane::Map;
using kernel::nft::Element;
using kernel::nft::ElementKey;

ElementKey words(std::initializer_list<std::uint32_t> values) {
  ElementKey key;
  for (const auto value : values) key.append_be32(value);
  return key;
}

}  // namespace

bool KernelLookup::is_there() const {
  const auto has_step = [](const Elements& elements) {
    const auto step = elements.find(dataplane::set_of(Map::kStep).name);
    return step != elements.end() && !step->second.empty();
  };
  return has_step(now_) && has_step(before_);
}

KernelLookup::Data KernelLookup::find(Map map, const ElementKey& key) {
  const auto& held = elements();
  const auto set = held.find(dataplane::set_of(map).name);
  if (set == held.end()) return std::nullopt;
  for (const auto& wanted : {key, ElementKey{}}) {
    const auto it = set->second.lower_bound(Element{wanted, false, {}});
    if (it != set->second.end() && it->key == wanted) return it->data;
  }
  return std::nullopt;
}

KernelLookup::Data KernelLookup::find_interval(Map map, const ElementKey& key) {
  const auto& held = elements();
  const auto set = held.find(dataplane::set_of(map).name);
  if (set == held.end()) return std::nullopt;
  const auto& elements = set->second;
  const auto start = elements.lower_bound(Element{key, false, {}});
  if (start != elements.end() && start->key == key)
    return start->interval_end ? std::nullopt : std::optional(start->data);
  // The last boundary before: where one interval ends and another begins, the end comes second.
  if (start == elements.begin()) return std::nullopt;
  auto last = std::prev(start);
  if (last->interval_end && last != elements.begin() && std::prev(last)->key == last->key) --last;
  if (last->interval_end) return std::nullopt;
  return last->data;
}

std::optional<policy::ProgramId> KernelLookup::program_of(policy::Direction direction,
                                                          std::string_view interface_name,
                                                          const IpAddress& own) {
  const auto wanted = dataplane::endpoint_entry(direction, interface_name, own, {});
  const auto program = find(wanted->map, wanted->key);
  if (!program) return std::nullopt;
  return policy::ProgramId{program->be32_at(4)};
}

std::optional<std::uint32_t> KernelLookup::class_of(const IpAddress& peer, bool exact_only) {
  const auto entry = dataplane::class_entry(peer, {});
  const auto exact = find(entry.map, entry.key);
  if (!exact) return std::nullopt;
  const auto of_address = exact->be32_at(0);
  if (exact_only) return of_address == dataplane::kUnknownClass ? std::nullopt : std::optional(of_address);
  const auto of_exact = [&](std::span<const std::uint8_t> rest) {
    auto key = words({of_address});
    key.append(rest);
    return key;
  };
  const auto net = find_interval(dataplane::ranges_map(peer.family()), of_exact(entry.key.view()));
  const auto found = net ? find(dataplane::nets_map(peer.family()), of_exact(net->view())) : std::nullopt;
  return found ? std::optional(found->be32_at(0)) : std::nullopt;
}

bool KernelLookup::may_send_from(std::string_view interface_name, const IpAddress& address) {
  const auto source = dataplane::source_entry(interface_name, Prefix::host(address));
  return find_interval(source->map, source->key).has_value();
}

std::optional<std::uint32_t> KernelLookup::program_of_source(std::string_view interface_name,
                                                             const IpAddress& own) {
  if (!may_send_from(interface_name, own)) return std::nullopt;
  const auto wanted = dataplane::source_chain_entry(interface_name, own.family(), {}, {});
  const auto chain = find(wanted->map, wanted->key);
  return chain ? program_in({chain->be32_at(4), chain->be32_at(8)}, own) : std::nullopt;
}

std::optional<std::uint32_t> KernelLookup::program_in(const Chain& chain, const IpAddress& own) {
  const auto own_class = class_of(own, false);
  if (!own_class) return std::nullopt;
  const auto projection = find(Map::kProjections, words({chain.vocabulary, *own_class}));
  if (!projection) return std::nullopt;
  const auto program = find(Map::kChainPrograms, words({chain.id, projection->be32_at(0)}));
  if (!program) return std::nullopt;
  return program->be32_at(4);
}

std::optional<ElementKey> KernelLookup::answer(std::uint32_t table, const policy::Packet& packet) {
  const auto cell_key = [](std::uint32_t id, std::uint32_t key) {
    return words({id, key >> 16 << 24, (key & 0xffff) << 16});
  };
  const auto answer_in = [](const kernel::nft::ElementData& data) {
    return ElementKey(data.view().subspan(8));
  };
  const auto cell = find_interval(Map::kCells, cell_key(table, policy::table_key(packet)));
  if (!cell || answer_in(*cell) != dataplane::answer_key(Answer::kSourcePorts))
    return cell ? std::optional(answer_in(*cell)) : std::nullopt;
  const auto second = find_interval(Map::kCells, cell_key(cell->be32_at(4), packet.source_port));
  return second ? std::optional(answer_in(*second)) : std::nullopt;
}

std::optional<ElementKey> KernelLookup::decision(const FindProgram& find_program, Map answers,
                                                 const IpAddress& peer, const policy::Packet& packet,
                                                 bool exact_only) {
  const auto step = find(Map::kStep, words({0}));
  const auto peer_class = step ? class_of(peer, exact_only) : std::nullopt;
  const auto number = peer_class ? find_program() : std::nullopt;
  if (!number) return std::nullopt;
  const auto program = find(Map::kPrograms, words({*number}));
  if (!program) return std::nullopt;
  const auto projection = find(Map::kProjections, words({program->be32_at(8), *peer_class}));
  if (!projection) return std::nullopt;
  const auto table = find(Map::kTables, words({*number, projection->be32_at(0)}));
  if (!table) return std::nullopt;
  auto decided = answer(table->be32_at(4), packet);
  if (!decided || !find(Map::kSteps, words({step->be32_at(4)}))) return std::nullopt;
  if (decided == dataplane::answer_key(Answer::kAskBase)) decided = answer(program->be32_at(4), packet);
  if (!decided || !find(answers, *decided)) return std::nullopt;
  return decided;
}

bool KernelLookup::passes(policy::Direction direction, std::string_view interface_name, const IpAddress& own,
                          const IpAddress& peer, const policy::Packet& packet) {
  const auto own_program = [&]() -> std::optional<std::uint32_t> {
    const auto id = program_of(direction, interface_name, own);
    return id ? std::optional(static_cast<std::uint32_t>(*id)) : std::nullopt;
  };
  const auto source_program = [&] { return program_of_source(interface_name, own); };
  struct Asked {
    FindProgram program;
    bool exact_only = false;
  };
  std::vector<Asked> rules{{own_program, true}, {own_program}, {own_program}};
  if (direction == policy::Direction::kEgress) rules.insert(rules.end(), 2, {source_program});
  const auto answers = dataplane::answers_map(direction, peer.family());
  for (const auto& [program, exact_only] : rules) {
    if (const auto decided = decision(program, answers, peer, packet, exact_only))
      return decided == dataplane::answer_key(Answer::kAllow) || dataplane::allows(*decided);
  }
  return false;
}

std::optional<KernelLookup::Chain> KernelLookup::chain_at(policy::Hook hook, std::string_view interface_name,
                                                          Family family) {
  const auto wanted = dataplane::host_interface_entry(interface_name, 0);
  const auto host = find(Map::kHostInterfaces, wanted->key);
  if (!host) return std::nullopt;
  const auto chain = find(Map::kHostChains, words({host->be32_at(4), dataplane::hook_number(family, hook)}));
  if (!chain) return std::nullopt;
  return Chain{chain->be32_at(4), chain->be32_at(8)};
}

std::optional<std::uint32_t> KernelLookup::program_at(policy::Hook hook, std::string_view interface_name,
                                                      const IpAddress& own) {
  const auto chain = chain_at(hook, interface_name, own.family());
  return chain ? program_in(*chain, own) : std::nullopt;
}

bool KernelLookup::asks_nobody(policy::Hook hook, std::string_view interface_name, Family family) {
  const auto step = find(Map::kStep, words({0}));
  const auto chain = step ? chain_at(hook, interface_name, family) : std::nullopt;
  return chain && chain->id == 0 && find(Map::kSteps, words({step->be32_at(4)}));
}

std::optional<policy::Verdict> KernelLookup::at_host(policy::Hook hook, std::string_view interface_name,
                                                     const IpAddress& own, const IpAddress& peer,
                                                     const policy::Packet& packet) {
  using enum policy::Verdict;
  const auto host = find(Map::kHostInterfaces, dataplane::host_interface_entry(interface_name, 0)->key);
  if (!host || host->be32_at(4) == 0) return std::nullopt;
  if (asks_nobody(hook, interface_name, own.family())) return std::nullopt;
  const auto program = [&] { return program_at(hook, interface_name, own); };
  for ([[maybe_unused]] const int time : {1, 2}) {
    const auto decided = decision(program, dataplane::answers_map(hook, own.family()), peer, packet, false);
    if (!decided) continue;
    if (decided == dataplane::answer_key(Answer::kAllow) || dataplane::allows(*decided)) return kAllow;
    return decided == dataplane::answer_key(Answer::kDeny) || dataplane::denies(*decided) ? kDeny : kNone;
  }
  if (asks_nobody(hook, interface_name, own.family())) return std::nullopt;
  return kDeny;  // what no rule has answered is dropped
}

}  // namespace ocicat::test
