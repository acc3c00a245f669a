#include "base/digest.h"

#include <openssl/evp.h>

#include "base/result.h"

namespace ocicat {

Digest Digest::of(std::string_view meaning) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> whole{};
  unsigned length = 0;
  CHECK(EVP_Digest(meaning.data(), meaning.size(), whole.data(), &length, EVP_sha256(), nullptr) == 1);
  Digest digest;
  CHECK(length >= digest.bytes.size());
  std::memcpy(digest.bytes.data(), whole.data(), digest.bytes.size());
  return digest;
}

std::string Digest::to_hex() const {
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace ocicat
