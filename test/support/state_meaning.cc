#include "test/support/state_meaning.h"

#include <fmt/format.h>

#include <map>

namespace ocicat::test {
namespace {

using namespace policy;

std::string text_of(const Outcome& outcome) {
  std::string text(to_string(outcome.verdict));
  for (const auto& step : outcome.trace) {
    text += " " + to_string(step);
    for (const auto& key : step.selected_by) text += " " + key.to_string();
  }
  return text;
}

class Meaning {
 public:
  explicit Meaning(const Tables& tables) : tables_(tables) {}

  // The tables that packets of each prefix's addresses meet, and everyone else's.
  std::string text(ProgramId id) {
    const auto known = programs_.find(id);
    if (known != programs_.end()) return known->second;
    const auto& program = tables_.programs.at(id);
    auto text = "else " + table_text(program.base);
    for (const auto& [prefix, address_class] : tables_.classes) {
      const auto projection = tables_.projections.find({program.vocabulary, address_class});
      if (projection == tables_.projections.end()) continue;
      const auto table = tables_.tables_by_projection.find({id, projection->second});
      if (table != tables_.tables_by_projection.end())
        text += fmt::format("; {} {}", prefix.to_string(), table_text(table->second));
    }
    programs_.emplace(id, text);
    return text;
  }

  // The programs that own addresses of each prefix have, and all others.
  std::string text(ChainId id) {
    if (id == ChainId{}) return "no chain";
    const auto& chain = tables_.chains.at(id);
    auto meaning = "else " + text(chain.base);
    for (const auto& [prefix, address_class] : tables_.classes) {
      const auto projection = tables_.projections.find({chain.vocabulary, address_class});
      if (projection == tables_.projections.end()) continue;
      const auto program = tables_.chain_programs.find({id, projection->second});
      if (program != tables_.chain_programs.end())
        meaning += fmt::format("; at {}: {}", prefix.to_string(), text(program->second));
    }
    return meaning;
  }

 private:
  std::string table_text(TableId id) {
    std::string text;
    for (const auto& interval : tables_.tables.at(id)) {
      text += fmt::format("[{:x}-{:x} ", interval.first, interval.last);
      text += interval.source_ports != TableId{} ? table_text(interval.source_ports)
                                                 : text_of(tables_.outcomes.at(interval.outcome));
      text += "]";
    }
    return text;
  }

  const Tables& tables_;
  std::map<ProgramId, std::string> programs_;
};

// For each prefix the first one of its class: who is told apart from whom.
std::map<Prefix, Prefix> partition_of(const Tables& tables) {
  std::map<ClassId, Prefix> first_by_class;
  std::map<Prefix, Prefix> partition;
  for (const auto& [prefix, address_class] : tables.classes) {
    partition.emplace(prefix, first_by_class.emplace(address_class, prefix).first->second);
  }
  return partition;
}

std::string difference_in_size(const Tables& a, const Tables& b) {
  const auto differ = [](std::string_view what, const auto& one, const auto& other) {
    return one.size() == other.size() ? std::string()
                                      : fmt::format("{} {} and {}", one.size(), what, other.size());
  };
  for (const auto& found :
       {differ("outcomes", a.outcomes, b.outcomes), differ("tables", a.tables, b.tables),
        differ("programs", a.programs, b.programs), differ("chains", a.chains, b.chains),
        differ("programs of chains", a.chain_programs, b.chain_programs),
        differ("tables by projection", a.tables_by_projection, b.tables_by_projection),
        differ("projections", a.projections, b.projections), differ("classes", a.classes, b.classes),
        differ("dictionary entries", a.dictionary, b.dictionary)}) {
    if (!found.empty()) return found;
  }
  return {};
}

std::string difference_in_outcomes(const Tables& a, const Tables& b) {
  for (const auto& [one, other] : {std::pair{&a, &b}, {&b, &a}}) {
    for (const auto& [id, outcome] : one->outcomes) {
      const auto found = other->outcomes.find(id);
      if (found == other->outcomes.end() || found->second != outcome)
        return fmt::format("outcomes: {} is {} {} there", static_cast<std::uint32_t>(id), text_of(outcome),
                           one == &a ? "here, and not" : "not here, but");
    }
  }
  return {};
}

}  // namespace

std::string difference_in_meaning(const HostState& a, const HostState& b) {
  if (a.settings != b.settings) return "settings";
  if (a.routes != b.routes) return "routes";
  if (a.endpoints.size() != b.endpoints.size()) return "endpoints";
  Meaning in_a(a.tables), in_b(b.tables);
  for (const auto& [key, endpoint] : a.endpoints) {
    const auto other = b.endpoints.find(key);
    if (other == b.endpoints.end() || other->second.interface_name != endpoint.interface_name ||
        other->second.addresses.size() != endpoint.addresses.size())
      return key.to_string();
    if (endpoint.sources != other->second.sources) return "sources of " + key.to_string();
    for (const auto family : kFamilies) {
      const auto one = in_a.text(endpoint.source_chain(family)),
                 two = in_b.text(other->second.source_chain(family));
      if (one != two) return fmt::format("{}, sent from elsewhere:\n  {}\n  {}", key.to_string(), one, two);
    }
    for (std::size_t i = 0; i < endpoint.addresses.size(); ++i) {
      const auto& one = endpoint.addresses[i];
      const auto& two = other->second.addresses[i];
      if (one.address != two.address) return key.to_string();
      const auto where = fmt::format("{} at {}", key.to_string(), one.address.to_string());
      if (in_a.text(one.ingress) != in_b.text(two.ingress)) {
        return fmt::format("{}, ingress:\n  {}\n  {}", where, in_a.text(one.ingress), in_b.text(two.ingress));
      }
      if (in_a.text(one.egress) != in_b.text(two.egress)) {
        return fmt::format("{}, egress:\n  {}\n  {}", where, in_a.text(one.egress), in_b.text(two.egress));
      }
    }
  }
  if (a.host_endpoints.size() != b.host_endpoints.size()) return "host endpoints";
  for (const auto& [key, host] : a.host_endpoints) {
    const auto other = b.host_endpoints.find(key);
    if (other == b.host_endpoints.end() || other->second.interface_name != host.interface_name ||
        other->second.expected_addresses != host.expected_addresses)
      return key.to_string();
    for (const auto family : kFamilies) {
      for (const auto hook : kHooks) {
        const auto one = in_a.text(host.chain(family, hook));
        const auto two = in_b.text(other->second.chain(family, hook));
        if (one == two) continue;
        return fmt::format("{}, {} {}:\n  {}\n  {}", key.to_string(), to_string(hook.chain),
                           to_string(hook.direction), one, two);
      }
    }
  }
  if (partition_of(a.tables) != partition_of(b.tables)) return "who is told apart from whom";
  return difference_in_size(a.tables, b.tables);
}

std::string difference(const HostState& a, const HostState& b) {
  if (a.settings != b.settings) return "settings";
  if (auto found = difference_in_outcomes(a.tables, b.tables); !found.empty()) return found;
  if (a.tables.tables != b.tables.tables) return "tables";
  if (a.tables.programs != b.tables.programs) return "programs";
  if (a.tables.chains != b.tables.chains) return "chains";
  if (a.tables.chain_programs != b.tables.chain_programs) return "programs of chains";
  if (a.tables.tables_by_projection != b.tables.tables_by_projection) return "tables by projection";
  if (a.tables.projections != b.tables.projections) return "projections";
  if (a.tables.classes != b.tables.classes) return "classes";
  if (a.tables.dictionary != b.tables.dictionary) return "dictionary";
  if (a.endpoints != b.endpoints) return "endpoints";
  if (a.host_endpoints != b.host_endpoints) return "host endpoints";
  if (a.routes != b.routes) return "routes";
  return {};
}

}  // namespace ocicat::test
