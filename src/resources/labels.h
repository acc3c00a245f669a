// Labels as a selector looks them up.
#pragma once

#include <algorithm>

#include "resources/selector/selector.h"
#include "resources/types.h"

namespace ocicat {

// Borrows the labels. A lookup copies nothing; O(log labels).
class LabelsOf : public LabelSource {
 public:
  explicit LabelsOf(const Labels& labels) : labels_(labels) {}

  std::optional<std::string_view> find(std::string_view name) const override {
    const auto it = std::ranges::lower_bound(labels_, name, {},
                                             [](const auto& label) { return std::string_view(label.first); });
    if (it == labels_.end() || it->first != name) return std::nullopt;
    return it->second;
  }

 private:
  const Labels& labels_;
};

}  // namespace ocicat
