// Generates images by seed with onnxruntime's C++ interface, and nothing else:
//
//     generate MODEL SEED,SEED,... FOLDER [LABEL]
//
// MODEL is a file that `ganport export` wrote. Each image is written to FOLDER/seed0000007.pgm, in colour to
// FOLDER/seed0000007.ppm. LABEL is the index of a label. By default seed s has label s modulo the number of labels.
// docs/contract.md describes the file and the seeds.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

// Philox4x32-10 (Salmon et al., SC 2011): four random words of block `block` of a seed.
std::array<uint32_t, 4> philox(uint64_t seed, uint32_t block) {
    std::array<uint32_t, 4> c{block, 0, 0, 0};
    uint32_t key[2] = {uint32_t(seed), uint32_t(seed >> 32)};
    for (int round = 0; round < 10; ++round) {
        const uint64_t p = uint64_t(0xD2511F53) * c[0], q = uint64_t(0xCD9E8D57) * c[2];
        c = {uint32_t(q >> 32) ^ c[1] ^ key[0], uint32_t(q), uint32_t(p >> 32) ^ c[3] ^ key[1], uint32_t(p)};
        key[0] += 0x9E3779B9;
        key[1] += 0xBB67AE85;
    }
    return c;
}

// The 4,096 magnitudes of normal variates: the quantiles at 1/2 + (k + 1/2) / 8192. Newton's method begins at the
// quantile before, and approaches each quantile from below.
std::vector<float> normal_table() {
    std::vector<float> table(4096);
    double x = 0;
    for (int k = 0; k < 4096; ++k) {
        const double above = (4095.5 - k) / 8192;
        for (int step = 0; step < 20; ++step)
            x += (std::erfc(x / std::sqrt(2.0)) / 2 - above) / (std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0)));
        table[k] = float(x);
    }
    return table;
}

std::vector<float> sample_latents(uint64_t seed, size_t dim, const std::string& distribution) {
    static const std::vector<float> table = normal_table();
    std::vector<float> latents(dim);
    for (size_t j = 0; j < dim; ++j) {
        const uint32_t word = philox(seed, uint32_t(j / 8))[j % 8 / 2];
        const uint32_t h = j % 2 ? word & 0xFFFF : word >> 16;
        if (distribution == "uniform")
            latents[j] = float(h) * 0x1p-15f + (0x1p-16f - 1);
        else if (distribution == "uniform01")
            latents[j] = float(h) * 0x1p-16f + 0x1p-17f;
        else
            latents[j] = h >> 15 ? -table[h >> 3 & 0xFFF] : table[h >> 3 & 0xFFF];
    }
    return latents;
}

// The text after `"name": ` in the contract, a JSON document. A program that has a JSON library should use it.
std::string after(const std::string& json, const std::string& name) {
    const size_t found = json.find('"' + name + "\":");
    if (found == std::string::npos) throw std::runtime_error("the contract has no field " + name);
    return json.substr(json.find_first_not_of(' ', found + name.size() + 3));
}

std::string text_of(const std::string& json, const std::string& name) {
    const std::string value = after(json, name);
    return value.substr(1, value.find('"', 1) - 1);
}

int64_t count_labels(const std::string& json) {
    const std::string value = after(json, "labels");
    if (value[0] != '[') return 0;
    int64_t quotes = 0;
    for (size_t i = 0; quotes % 2 || value[i] != ']'; ++i) {
        if (value[i] == '\\') ++i;
        else if (value[i] == '"') ++quotes;
    }
    return quotes / 2;
}

uint64_t read_seed(const std::string& text) {
    const bool is_number = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    if (!is_number || text.size() > 19 || std::stoull(text) >> 63)
        throw std::runtime_error("'" + text + "' is not a seed; seeds are whole numbers from 0 to 2^63 - 1");
    return std::stoull(text);
}

void write_image(const std::string& folder, uint64_t seed, const std::vector<uint8_t>& pixels, int64_t height,
                 int64_t width, int64_t channels) {
    char name[64];
    std::snprintf(name, sizeof name, "/seed%07llu.%s", (unsigned long long)seed, channels == 1 ? "pgm" : "ppm");
    std::ofstream file(folder + name, std::ios::binary);
    file << (channels == 1 ? "P5\n" : "P6\n") << width << ' ' << height << "\n255\n";
    file.write(reinterpret_cast<const char*>(pixels.data()), std::streamsize(pixels.size()));
    if (!file.flush()) throw std::runtime_error("can't write " + folder + name);
}

void run(const std::string& model, const std::string& seeds, const std::string& folder, int64_t chosen_label) {
    Ort::Env env(ORT_LOGGING_LEVEL_ERROR);
    Ort::Session session(env, std::basic_string<ORTCHAR_T>(model.begin(), model.end()).c_str(), Ort::SessionOptions{});
    Ort::AllocatorWithDefaultOptions allocator;
    const auto contract = session.GetModelMetadata().LookupCustomMetadataMapAllocated("ganport", allocator);
    if (!contract) throw std::runtime_error("the file has no contract; write it with: ganport export");
    const std::string json = contract.get(), input = after(json, "input"), image = after(json, "image");
    if (text_of(input, "kind") != "latent") throw std::runtime_error("this program makes latents; the file takes none");
    const auto distribution = text_of(input, "distribution");
    const int64_t dim = std::stoll(after(input, "dim")), labels = count_labels(input);
    const int64_t height = std::stoll(after(image, "height")), width = std::stoll(after(image, "width"));
    const int64_t channels = std::stoll(after(image, "channels"));
    const bool is_nchw = text_of(image, "layout") == "NCHW", is_uint8 = text_of(image, "dtype") == "uint8";
    // A file for a target (`ganport export --for ...`) takes a label as float one-hot, all others as an index.
    const bool has_one_hot = labels > 0 && session.GetInputTypeInfo(1).GetTensorTypeAndShapeInfo().GetElementType() ==
                                               ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    const auto latent_name = text_of(input, "name"), image_name = text_of(image, "name");
    const char* input_names[] = {latent_name.c_str(), "label"};
    const char* output_names[] = {image_name.c_str()};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);

    std::istringstream listed(seeds);
    for (std::string text; std::getline(listed, text, ',');) {
        const uint64_t seed = read_seed(text);
        auto latents = sample_latents(seed, size_t(dim), distribution);
        int64_t label = chosen_label;
        if (labels > 0 && label < 0) label = int64_t(seed % uint64_t(labels));
        if (label >= labels) throw std::runtime_error("the generator has no such label");
        std::vector<float> one_hot(size_t(std::max<int64_t>(labels, 1)));
        if (labels > 0) one_hot[size_t(label)] = 1;
        const int64_t latent_shape[] = {1, dim}, label_shape[] = {1, labels};
        std::vector<Ort::Value> inputs;
        inputs.push_back(Ort::Value::CreateTensor<float>(memory, latents.data(), latents.size(), latent_shape, 2));
        if (labels > 0 && has_one_hot)
            inputs.push_back(Ort::Value::CreateTensor<float>(memory, one_hot.data(), one_hot.size(), label_shape, 2));
        else if (labels > 0)
            inputs.push_back(Ort::Value::CreateTensor<int64_t>(memory, &label, 1, label_shape, 1));
        const auto output = session.Run({}, input_names, inputs.data(), inputs.size(), output_names, 1);

        std::vector<uint8_t> pixels(size_t(height * width * channels));
        for (int64_t i = 0; i < int64_t(pixels.size()); ++i) {  // i counts pixels by row, column and channel
            const int64_t at = is_nchw ? i % channels * height * width + i / channels : i;
            if (is_uint8) {
                pixels[size_t(i)] = output[0].GetTensorData<uint8_t>()[at];
            } else {
                const float value = (output[0].GetTensorData<float>()[at] + 1) * 127.5f;
                pixels[size_t(i)] = uint8_t(std::nearbyint(std::min(std::max(value, 0.0f), 255.0f)));
            }
        }
        write_image(folder, seed, pixels, height, width, channels);
    }
}

int main(int count, char** arguments) {
    if (count != 4 && count != 5) {
        std::cerr << "usage: generate MODEL SEED,SEED,... FOLDER [LABEL]\n";
        return 2;
    }
    const OrtApi* api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (!api) {
        std::cerr << "error: onnxruntime " << OrtGetApiBase()->GetVersionString() << " is older than its headers ("
                  << ORT_API_VERSION << ")\n";
        return 1;
    }
    Ort::InitApi(api);
    try {
        run(arguments[1], arguments[2], arguments[3], count == 5 ? std::stoll(arguments[4]) : -1);
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
}
