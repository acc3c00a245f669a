#include "test/support/shapes/label_index.h"

#include "base/result.h"

namespace ocicat::test {

Item LabelIndex::policy() const {
  std::vector<std::string> sources;
  for (unsigned i = 0; i < selectors; ++i)
    sources.push_back(fmt::format("alpha == 'beta' && has(ipset-{})", i));
  return allow_from("from-each", "has(local)", sources);
}

Item LabelIndex::local() const {
  auto endpoint = workload(kShapeNode, "local", endpoints, 0x0a000001 + endpoints);
  endpoint.metadata.labels["local"] = "true";
  return item(Kind::kWorkloadEndpoint, std::move(endpoint));
}

Item LabelIndex::endpoint(unsigned number, unsigned selector) const {
  auto endpoint = workload("host", fmt::format("namespace-{}", number % 100), number, 0x0a000001 + number);
  endpoint.metadata.labels["alpha"] = "beta";
  endpoint.metadata.labels[fmt::format("ipset-{}", selector)] = "true";
  return item(Kind::kWorkloadEndpoint, std::move(endpoint));
}

void LabelIndex::each(const Take& take) const {
  for (unsigned i = 0; i < endpoints; ++i) take(endpoint(i, i % selectors));
  take(policy());
  take(local());
}

}  // namespace ocicat::test
