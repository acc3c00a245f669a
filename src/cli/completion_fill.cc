#include <algorithm>
#include <boost/json.hpp>

#include "cli/completion.h"
#include "cli/run.h"
#include "lab/layout.h"
#include "lab/state.h"
#include "resources/decode.h"

namespace ocicat::cli {
namespace {

using Ask = Blank::Ask;
using Words = std::vector<std::string>;

std::vector<ResourceKey> keys_at_server(const Blank& blank, Kind kind, const std::optional<std::string>& ns) {
  const auto address = blank.server.empty() ? Result<api::Address>(api::Address::standard())
                                            : api::Address::parse(blank.server);
  std::vector<ResourceKey> keys;
  if (!address) return keys;
  api::Client client(*address);
  const auto listed = client.list(kind, ns);
  if (!listed) return keys;
  for (const boost::json::object& object : listed->items) {
    if (auto key = key_of(object)) keys.push_back(*std::move(key));
  }
  return keys;
}

Words names(const Blank& blank, Kind kind) {
  std::optional<std::string> ns;
  if (info(kind).namespaced) ns = blank.ns.empty() ? "default" : blank.ns;
  Words found;
  for (const ResourceKey& key : keys_at_server(blank, kind, ns)) found.push_back(key.name);
  return found;
}

Words workloads(const Blank& blank) {
  Words found;
  for (const Kind kind : {Kind::kPod, Kind::kWorkloadEndpoint}) {
    for (const ResourceKey& key : keys_at_server(blank, kind, {}))
      found.push_back(fmt::format("{}/{}", key.ns, key.name));
  }
  return found;
}

Words in_lab(const Blank& blank) {
  Words found;
  const auto layout = lab::Layout::named(blank.lab);
  if (!layout) return found;
  if (blank.ask == Ask::kLabPods) {
    for (const auto& pod : lab::read_pods(*layout)) found.push_back(pod.full_name());
  } else if (const auto record = lab::read_lab(*layout)) {
    found = record->host_names();
  }
  return found;
}

Words answer(const Blank& blank) {
  switch (blank.ask) {
    case Ask::kNothing:
      return {};
    case Ask::kNames:
      return names(blank, blank.kind);
    case Ask::kWorkloads:
      return workloads(blank);
    case Ask::kNamespaces:
      return names(blank, Kind::kNamespace);
    case Ask::kLabs:
      return lab::Layout::existing();
    case Ask::kLabHosts:
    case Ask::kLabPods:
      return in_lab(blank);
  }
  return {};
}

}  // namespace

std::vector<Candidate> fill(const Blank& blank) {
  std::vector<Candidate> found = blank.candidates;
  for (const std::string& word : answer(blank)) found.push_back({blank.before + word, ""});
  std::erase_if(found, [&](const Candidate& candidate) { return !candidate.word.starts_with(blank.begun); });
  std::ranges::sort(found, {}, &Candidate::word);
  return found;
}

}  // namespace ocicat::cli
