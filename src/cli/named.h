// Objects as people name them on a command line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "resources/kinds.h"

namespace ocicat::cli {

// The kind that a word stands for; the error lists what there is.
Result<Kind> kind_of_word(std::string_view word);
// "tier,gnp".
Result<std::vector<Kind>> kinds_of_words(std::string_view words);

// KIND NAME..., or KIND/NAME...: one key each. `ns` is only for kinds that have a namespace; empty:
// "default".
Result<std::vector<ResourceKey>> keys_of_words(const std::vector<std::string>& words, const std::string& ns);

}  // namespace ocicat::cli
