// A WorkloadEndpoint straight from its text: of a large cluster nearly all that an agent reads.
#include <boost/container/small_vector.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include "resources/decode.h"
#include "resources/decoders.h"
#include "resources/plain_json.h"

namespace ocicat {
namespace {

// Members that are about nothing here. What is neither read nor among these is left to decode(): it may be about
// something, in this version or in a later one.
constexpr std::array<std::string_view, 3> kIdleMetadata{"creationTimestamp", "generation", "annotations"};
constexpr std::array<std::string_view, 5> kIdleSpec{"endpoint", "containerID", "mac", "ipv4Gateway",
                                                    "ipv6Gateway"};

class EndpointText {
 public:
  EndpointText(std::string_view text, WorkloadEndpoint& endpoint) : json_(text), endpoint_(endpoint) {}

  std::size_t read() {
    if (!document() || endpoint_.metadata.name.empty() || endpoint_.metadata.ns.empty() || !has(kSpec))
      return 0;
    if (!pod_.empty()) endpoint_.workload = std::move(pod_);
    decoding::settle_labels(endpoint_.metadata.labels, endpoint_.metadata.ns, endpoint_.orchestrator,
                            endpoint_.service_account);
    return json_.at();
  }

 private:
  enum Member : std::uint32_t {
    kApiVersion = 1 << 0,
    kKind = 1 << 1,
    kMetadata = 1 << 2,
    kSpec = 1 << 3,
    kLabels = 1 << 4,
    kNetworks = 1 << 5,
    kProfiles = 1 << 6,
    kMetadataTexts = 1 << 7,  // and one bit for each
    kSpecTexts = 1 << 16,
  };
  struct Text {
    std::string_view name;
    std::string* target;
  };

  bool has(std::uint32_t member) const { return (read_ & member) != 0; }
  // What comes twice is not plain.
  bool begin(std::uint32_t member) {
    if (has(member)) return false;
    read_ |= member;
    return true;
  }

  bool document() {
    return json_.object([this](std::string_view name) {
      if (name == "metadata") return begin(kMetadata) && metadata();
      if (name == "spec") return begin(kSpec) && spec();
      const auto& known = info(Kind::kWorkloadEndpoint);
      if (name == "apiVersion") return begin(kApiVersion) && is(known.api_version());
      return name == "kind" && begin(kKind) && is(known.name);
    });
  }

  bool metadata() {
    auto& metadata = endpoint_.metadata;
    const std::array texts{Text{"name", &metadata.name}, Text{"namespace", &metadata.ns},
                           Text{"uid", &metadata.uid}, Text{"resourceVersion", &metadata.resource_version}};
    return json_.object([&](std::string_view name) {
      if (name == "labels") return begin(kLabels) && labels();
      return one_of(texts, name, kMetadataTexts, kIdleMetadata);
    });
  }

  bool spec() {
    const std::array texts{Text{"node", &endpoint_.node},
                           Text{"orchestrator", &endpoint_.orchestrator},
                           Text{"workload", &endpoint_.workload},
                           Text{"pod", &pod_},
                           Text{"interfaceName", &endpoint_.interface_name},
                           Text{"serviceAccountName", &endpoint_.service_account}};
    return json_.object([&](std::string_view name) {
      if (name == "ipNetworks") return begin(kNetworks) && networks();
      if (name == "profiles") return begin(kProfiles) && profiles();
      return one_of(texts, name, kSpecTexts, kIdleSpec);
    });
  }

  bool one_of(std::span<const Text> texts, std::string_view name, std::uint32_t first,
              std::span<const std::string_view> idle) {
    const auto found = std::ranges::find(texts, name, &Text::name);
    if (found == texts.end()) return std::ranges::find(idle, name) != idle.end() && json_.anything();
    std::string_view value;
    if (!begin(first << (found - texts.begin())) || !json_.text(value)) return false;
    *found->target = value;
    return true;
  }

  bool labels() {
    boost::container::small_vector<std::pair<std::string_view, std::string_view>, 32> stated;
    const bool read = json_.object([&](std::string_view name) {
      auto& [label, value] = stated.emplace_back(name, std::string_view());
      return json_.text(value);
    });
    if (!read) return false;
    const auto out_of_order = [](const auto& a, const auto& b) { return a.first >= b.first; };
    if (std::ranges::adjacent_find(stated, out_of_order) != stated.end()) {
      std::ranges::sort(stated);
      if (std::ranges::adjacent_find(stated, out_of_order) != stated.end()) return false;  // one comes twice
    }
    Labels::sequence_type labels;
    labels.reserve(stated.size() + 3);  // room for what the kind adds
    for (const auto& [name, value] : stated) labels.emplace_back(name, value);
    endpoint_.metadata.labels.adopt_sequence(boost::container::ordered_unique_range, std::move(labels));
    return true;
  }

  bool networks() {
    return json_.array([this] {
      std::string_view text;
      if (!json_.text(text)) return false;
      const auto network = Prefix::parse(text, true);
      if (network) endpoint_.addresses.push_back(network->address);
      return network.has_value();
    });
  }

  bool profiles() {
    return json_.array([this] {
      std::string_view text;
      if (!json_.text(text)) return false;
      endpoint_.profiles.emplace_back(text);
      return true;
    });
  }

  bool is(std::string_view wanted) {
    std::string_view value;
    return json_.text(value) && value == wanted;
  }

  PlainJson json_;
  std::uint32_t read_ = 0;
  WorkloadEndpoint& endpoint_;
  std::string pod_;
};

}  // namespace

std::size_t read_plain_endpoint(std::string_view text, WorkloadEndpoint& endpoint) {
  return EndpointText(text, endpoint).read();
}

}  // namespace ocicat
