"""Registers our models and our pipeline with transformers, when it is imported."""

from __future__ import annotations

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
)

from bioscan_hf.evaluation import pipeline
from bioscan_hf.models.barcodebert.configuration_barcodebert import BarcodeBertConfig
from bioscan_hf.models.barcodebert.modeling_barcodebert import (
    BarcodeBertForMaskedLM,
    BarcodeBertForSequenceClassification,
    BarcodeBertForTaxonomicClassification,
    BarcodeBertModel,
    BarcodeMAE,
)
from bioscan_hf.models.clibd.configuration_clibd import ClibdConfig
from bioscan_hf.models.clibd.modeling_clibd import ClibdForImageClassification, ClibdModel
from bioscan_hf.models.clibd.processing_clibd import ClibdProcessor

AutoConfig.register(BarcodeBertConfig.model_type, BarcodeBertConfig, exist_ok=True)
AutoModel.register(BarcodeBertConfig, BarcodeBertModel, exist_ok=True)
AutoModelForMaskedLM.register(BarcodeBertConfig, BarcodeBertForMaskedLM, exist_ok=True)
AutoModelForPreTraining.register(BarcodeBertConfig, BarcodeMAE, exist_ok=True)
# Of two classes transformers takes the one that `config.architectures` names, else the first.
AutoModelForSequenceClassification.register(
    BarcodeBertConfig, (BarcodeBertForSequenceClassification, BarcodeBertForTaxonomicClassification), exist_ok=True
)
AutoConfig.register(ClibdConfig.model_type, ClibdConfig, exist_ok=True)
AutoModel.register(ClibdConfig, ClibdModel, exist_ok=True)
AutoModelForImageClassification.register(ClibdConfig, ClibdForImageClassification, exist_ok=True)
AutoModelForZeroShotImageClassification.register(ClibdConfig, ClibdModel, exist_ok=True)
AutoProcessor.register(ClibdConfig, ClibdProcessor, exist_ok=True)
pipeline.register()
